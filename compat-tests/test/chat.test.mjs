// The chat app with unchanged npm clients: login, send, receive, over every transport.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { io } from "socket.io-client";
import { modes } from "./lib/scenario.mjs";
import { selfCheck, shared, stopShared } from "./lib/servers.mjs";
import { differential } from "./lib/transcript.mjs";

after(stopShared);

const chat = { args: ["--app", "chat"] };

class User {
  constructor(url, transports) {
    this.received = [];
    this.socket = io(url, { transports, forceNew: true, reconnection: false });
    this.socket.on("receive", (...args) => this.received.push(args));
  }
  ask(...args) {
    return this.socket.timeout(8000).emitWithAck(...args);
  }
  /** Waits for the nth message. */
  async receive(n) {
    const start = Date.now();
    while (this.received.length < n) {
      assert.ok(Date.now() - start < 8000, `message ${n} did not arrive`);
      await new Promise((resolve) => this.socket.once("receive", () => setImmediate(resolve)));
    }
    return this.received;
  }
}

/** Runs script with as many users as it wants; they are gone afterwards. */
async function withUsers(url, transports, script) {
  const users = [];
  const connect = () => users[users.push(new User(url, transports)) - 1];
  try {
    return await script(connect);
  } finally {
    for (const { socket } of users) socket.disconnect();
  }
}

for (const [mode, transports] of Object.entries(modes)) {
  const scene = (name, script) => differential(`${name} (${mode})`, chat, ({ server }) => withUsers(server.url, transports, script));

  scene("two users talk", async (connect) => {
    const [ann, bob] = [connect(), connect()];
    const acks = [await ann.ask("login", "ann"), await bob.ask("login", "bob")];
    acks.push(await ann.ask("send", { to: "bob", message: "hello" }), await bob.ask("send", { to: "ann", message: { text: "h\u00e9 \u{1f600}", list: [1, null] } }));
    acks.push(await ann.ask("send", { to: "bob", message: Buffer.from([1, 2, 3]) }));
    return { acks, ann: await ann.receive(1), bob: await bob.receive(2) };
  });

  scene("a number and a string are the same user", async (connect) => {
    const [ann, bob] = [connect(), connect()];
    const acks = [await ann.ask("login", 7), await bob.ask("login", "bob")];
    acks.push(await bob.ask("send", { to: 7, message: "a" }), await bob.ask("send", { to: "7", message: "b" }));
    return { acks, ann: await ann.receive(2) };
  });

  scene("every socket of a user receives", async (connect) => {
    const [one, two, bob] = [connect(), connect(), connect()];
    await Promise.all([one.ask("login", "twice"), two.ask("login", "twice"), bob.ask("login", "bob2")]);
    const ack = await bob.ask("send", { to: "twice", message: 1 });
    return { ack, one: await one.receive(1), two: await two.receive(1), bob: bob.received };
  });

  scene("a user who is not there", async (connect) => {
    const ann = connect();
    await ann.ask("login", "alone");
    return { nobody: await ann.ask("send", { to: "no such user", message: "x" }), herself: await ann.ask("send", { to: "alone", message: "x" }), received: await ann.receive(1) };
  });

  scene("login and send without asking for an answer", async (connect) => {
    const [ann, bob] = [connect(), connect()];
    ann.socket.emit("login", "quiet");
    await ann.ask("send", { to: "nobody", message: "" });
    bob.socket.emit("send", { to: "quiet", message: "psst" });
    return { ann: await ann.receive(1) };
  });

  scene("a user who has left is offline", async (connect) => {
    const [ann, bob] = [connect(), connect()];
    await Promise.all([ann.ask("login", "leaver"), bob.ask("login", "stayer")]);
    const before = await bob.ask("send", { to: "leaver", message: 1 });
    await ann.receive(1);
    ann.socket.disconnect();
    for (let i = 0; i < 100; i++) {
      const after = await bob.ask("send", { to: "leaver", message: 2 });
      if (!after.online) return { before, after };
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return { before, after: "still online" };
  });

  scene("public rooms", async (connect) => {
    const [ann, bob] = [connect(), connect()];
    const acks = [await ann.ask("login", "ann3"), await bob.ask("login", "bob3"), await ann.ask("join", "#lobby"), await bob.ask("join", "#lobby")];
    acks.push(await ann.ask("send", { to: "#lobby", message: "all" }), await bob.ask("send", { to: "ann3", message: "done" }));
    return { acks, bob: await bob.receive(1), ann: await ann.receive(1) };
  });
}

// Refusals are the chat's own; the plain Node program has none to compare with.
if (!selfCheck) test("user ids that are refused", { timeout: 20000 }, async () => {
  const server = await shared("sockeye", "serve", chat.args);
  await withUsers(server.url, ["websocket"], async (connect) => {
    const [ann, bob] = [connect(), connect()];
    await bob.ask("login", "bob4");
    for (const id of ["#room", "#", "", "AAAAAAAAAAAAAAAAAAAA", bob.socket.id, "x".repeat(300), null, true, {}, ["a"], undefined]) {
      const answer = await ann.ask("login", id);
      assert.equal(typeof answer?.error?.message, "string", `login ${JSON.stringify(id)} gave ${JSON.stringify(answer)}`);
    }
    for (const to of ["", bob.socket.id, null]) {
      const answer = await ann.ask("send", { to, message: "x" });
      assert.ok(answer?.error, `send to ${JSON.stringify(to)} gave ${JSON.stringify(answer)}`);
    }
    assert.deepEqual(bob.received, []);
    assert.deepEqual(await ann.ask("login", "ann4"), { user: "ann4" });
  });
});
