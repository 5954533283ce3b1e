// The events behind the chat page that the plain Node program does not have: who is online, members, typing, whoami.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { io } from "socket.io-client";
import { freePort, Node } from "./lib/browser.mjs";

let node;
const sockets = [];

before(async () => {
  node = new Node(await freePort(), ["--node-name", "south"]);
  await node.start();
});
after(async () => {
  for (const socket of sockets) socket.disconnect();
  await node.stop();
});

/** A client that keeps what it receives; heard(event, test) waits for an event whose arguments pass. */
async function client(user) {
  const socket = io(node.url, { transports: ["websocket"], forceNew: true, reconnection: false });
  sockets.push(socket);
  const events = [];
  socket.onAny((...event) => events.push(event));
  const heard = async (name, passes = () => true) => {
    for (;;) {
      const found = events.find(([event, ...args]) => event === name && passes(...args));
      if (found) return found.slice(1);
      await new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no ${name} among ${JSON.stringify(events)}`)), 8000);
        socket.onAny(function any() {
          clearTimeout(timer);
          socket.offAny(any);
          setImmediate(resolve);
        });
      });
    }
  };
  const ask = (...args) => socket.timeout(8000).emitWithAck(...args);
  if (user) assert.deepEqual(await ask("login", user), { user });
  return { socket, events, heard, ask };
}

const came = (people, name) => people?.some(({ user }) => user === name);

const refusal = (answer) => {
  assert.equal(typeof answer?.error?.message, "string", JSON.stringify(answer));
  return answer.error.message;
};

test("watchers learn who comes and goes, once per user", { timeout: 30_000 }, async () => {
  const watcher = await client("watcher");
  await watcher.ask("watch");
  const [first, second] = [await client("comer"), await client("comer")];
  await watcher.heard("presence", ({ online }) => came(online, "comer"));
  first.socket.disconnect();
  await second.ask("join", "#comers");
  await watcher.heard("presence", ({ rooms }) => rooms?.some(({ room, members }) => room === "#comers" && members === 1));
  assert.ok(!watcher.events.some(([, change]) => change.offline?.includes("comer")), "the second socket is still there");
  second.socket.disconnect();
  const [change] = await watcher.heard("presence", ({ offline }) => offline?.includes("comer"));
  assert.deepEqual(change.rooms, [{ room: "#comers", members: 0 }]);
  const late = await client("late");
  const { users, total, rooms } = await late.ask("watch");
  assert.deepEqual(users.find(({ user }) => user === "watcher"), { user: "watcher", nodes: ["south"] });
  assert.ok(!came(users, "comer"));
  assert.equal(total, users.length);
  assert.deepEqual(rooms, []);
  assert.equal(second.events.length, 0, "who does not watch is not told");
});

test("another name, and no name", { timeout: 30_000 }, async () => {
  const watcher = await client("watcher2");
  await watcher.ask("watch");
  const changer = await client("old name");
  await watcher.heard("presence", ({ online }) => came(online, "old name"));
  await changer.ask("login", "new name");
  const [change] = await watcher.heard("presence", ({ online }) => came(online, "new name"));
  assert.deepEqual(change.offline, ["old name"]);
  const { node: name, socket, transport, user } = await changer.ask("whoami");
  assert.deepEqual([socket, transport, user], [changer.socket.id, "websocket", "new name"]);
  assert.equal(name, "south");
  const stranger = await client();
  assert.equal((await stranger.ask("whoami")).user, undefined);
});

test("members of a room", { timeout: 30_000 }, async () => {
  const [a, b] = [await client("member a"), await client("member b")];
  await a.ask("watch");
  await a.ask("join", "#members");
  await b.ask("join", "#members");
  await a.heard("presence", ({ rooms }) => rooms?.some(({ room, members }) => room === "#members" && members === 2));
  assert.deepEqual(await a.ask("members", "#members"), { room: "#members", users: ["member a", "member b"], total: 2 });
  assert.deepEqual(await a.ask("members", "#empty"), { room: "#empty", users: [], total: 0 });
  for (const room of ["", "#", "members", null, {}, "#a\u0000", `#${"x".repeat(300)}`]) {
    for (const event of ["join", "leave", "members"]) refusal(await a.ask(event, room));
  }
});

test("typing reaches the other side only", { timeout: 30_000 }, async () => {
  const [a, twin, b, c] = [await client("typist"), await client("typist"), await client("reader"), await client("bystander")];
  await a.ask("typing", { to: "reader" });
  assert.deepEqual(await b.heard("typing"), [{ from: "typist" }]);
  for (const { ask } of [a, b]) await ask("join", "#typing");
  await a.ask("typing", { to: "#typing" });
  assert.deepEqual(await b.heard("typing", ({ room }) => room), [{ from: "typist", room: "#typing" }]);
  assert.match(refusal(await c.ask("typing", { to: "#typing" })), /join the room/);
  assert.match(refusal(await (await client()).ask("typing", { to: "reader" })), /log in/);
  for (const bad of [undefined, null, {}, { to: "" }, { to: c.socket.id }, "reader"]) refusal(await a.ask("typing", bad));
  assert.equal([a, twin, c].flatMap(({ events }) => events).length, 0);
});

test("the other sockets of the sender get a copy", { timeout: 30_000 }, async () => {
  const [a, twin, b] = [await client("copier"), await client("copier"), await client("copied to")];
  const message = { text: "hé", data: Buffer.from([1, 2]) };
  assert.deepEqual(await a.ask("send", { to: "copied to", message }), { online: true, devices: 1 });
  assert.deepEqual(await twin.heard("sent"), [message, { to: "copied to" }]);
  assert.deepEqual(await b.heard("receive"), [message, { from: "copier" }]);
  assert.deepEqual(a.events, []);
});

test("a socket is in 100 rooms at most", { timeout: 30_000 }, async () => {
  const { ask } = await client("joiner");
  for (let i = 0; i < 100; i++) assert.deepEqual(await ask("join", `#r${i}`), { room: `#r${i}` });
  assert.match(refusal(await ask("join", "#r100")), /100/);
  assert.deepEqual(await ask("join", "#r5"), { room: "#r5" }, "it is in that one already");
  await ask("leave", "#r5");
  assert.deepEqual(await ask("join", "#r100"), { room: "#r100" });
});
