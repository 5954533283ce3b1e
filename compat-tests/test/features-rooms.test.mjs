// Rooms and selections: who receives what, fetchSockets and the commands on many sockets.
import { after } from "node:test";
import { stopShared } from "./lib/servers.mjs";
import { scenario } from "./lib/scenario.mjs";

after(stopShared);

/** Three clients; a in r1, b in r1 and r2, c in r2 and r3. */
async function three(run) {
  await run.create();
  const clients = await run.connectAll("a", "b", "c");
  const rooms = [["r1"], ["r1", "r2"], ["r2", "r3"]];
  for (const [i, client] of clients.entries()) await run.command("join", { socket: client.id, rooms: rooms[i] });
  return clients;
}

const selections = {
  everybody: {},
  "one room": { to: ["r1"] },
  "two rooms, nobody twice": { to: ["r1", "r2"] },
  "three rooms": { to: ["r1", "r2", "r3"] },
  "a room nobody is in": { to: ["r9"] },
  "everybody but a room": { except: ["r1"] },
  "a room but another": { to: ["r2"], except: ["r3"] },
  "a room but itself": { to: ["r2"], except: ["r2"] },
  "everybody but two rooms": { except: ["r1", "r3"] },
  local: { local: true, to: ["r1"] },
  "without compression": { compress: false, to: ["r1"] },
};

scenario("a namespace emits to selections", async (run) => {
  await three(run);
  for (const [name, selection] of Object.entries(selections)) {
    await run.command("emit", { ...selection, event: "news", args: [name, { n: 1 }] });
  }
  await run.settle();
});

scenario("a socket emits to selections, never to itself", async (run) => {
  const [a, b] = await three(run);
  await run.command("emit", { socket: a.id, broadcast: true, event: "news", args: ["broadcast"] });
  for (const [name, selection] of Object.entries(selections)) {
    if (name === "everybody" || name === "without compression") continue;
    await run.command("emit", { socket: b.id, ...selection, event: "news", args: [name] });
  }
  await run.command("emit", { socket: a.id, event: "news", args: ["to itself alone"] });
  await run.settle();
});

scenario("a socket's id is a room", async (run) => {
  const [a, b] = await three(run);
  await run.command("emit", { to: [a.id], event: "news", args: ["to a"] });
  await run.command("emit", { except: [a.id], event: "news", args: ["not a"] });
  await run.command("emit", { to: [a.id, "r1"], event: "news", args: ["a and r1"] });
  a.emit("to-room", b.id, "private");
  a.emit("to-room", a.id, "to itself: nobody");
  await run.settle();
});

scenario("binary to a room", async (run) => {
  await three(run);
  await run.command("emit", { to: ["r1"], event: "news", args: [{ $bin: "0102" }, { deep: [{ $bin: "" }, "x"] }] });
  await run.settle();
});

scenario("join and leave", async (run) => {
  const [a, b] = await three(run);
  const rooms = [];
  const note = async () => rooms.push([await run.command("rooms", { socket: a.id }), await run.command("allRooms")]);
  await note();
  await run.command("join", { socket: a.id, rooms: ["r4", "r5", "r1"] });
  await note();
  await run.command("leave", { socket: a.id, rooms: ["r1", "r9"] });
  await note();
  await run.command("emit", { to: ["r1"], event: "news", args: ["not for a any more"] });
  await run.command("leave", { socket: b.id, rooms: ["r1"] });
  await note();
  await run.command("emit", { event: "news", args: ["still for everybody"] });
  await run.settle();
  return run.transcript({ rooms });
});

scenario("odd names of rooms", async (run) => {
  await run.create();
  const [a] = await run.connectAll("a", "b");
  const rooms = ["", " ", "__proto__", "constructor", "\u00e9\u20ac\u{1f600}", "a,b", "#x", "0", "x".repeat(300)];
  await run.command("join", { socket: a.id, rooms });
  for (const room of rooms) await run.command("emit", { to: [room], event: "news", args: [room.length] });
  await run.settle();
  return run.transcript({ rooms: await run.command("rooms", { socket: a.id }) });
});

scenario("rooms are gone after a disconnect", async (run) => {
  const [, b] = await three(run);
  b.socket.disconnect();
  await run.waitDisconnect(b);
  const rooms = await run.command("allRooms");
  const refused = await run.attempt("join", { socket: b.ids[0], rooms: ["r7"] });
  return run.transcript({ rooms, refused: Boolean(refused.error) });
});

scenario("rooms of two namespaces are apart", async (run) => {
  await run.create();
  await run.command("create", { nsp: `${run.nsp}-b` });
  const a = await run.connect("a");
  const b = await run.connect("b", { nsp: `${run.nsp}-b` });
  await run.command("join", { socket: a.id, rooms: ["r"] });
  await run.command("join", { nsp: b.nsp, socket: b.id, rooms: ["r"] });
  await run.command("emit", { to: ["r"], event: "news", args: [1] });
  await run.settle();
});

scenario("fetchSockets", async (run) => {
  const [a, b, c] = await three(run);
  await run.command("setData", { socket: a.id, key: "user", value: { name: "ann", tags: [1, null] } });
  await run.command("setData", { socket: b.id, key: "n", value: 5 });
  const out = {};
  for (const [name, selection] of Object.entries(selections)) out[name] = await run.command("fetchSockets", selection);
  out["but the socket"] = await run.command("fetchSockets", { socket: a.id, broadcast: true });
  out["one id"] = await run.command("fetchSockets", { to: [c.id] });
  return out;
});

scenario("socketsJoin and socketsLeave", async (run) => {
  const [a] = await three(run);
  await run.command("socketsJoin", { to: ["r1"], rooms: ["x", "y"] });
  await run.command("socketsJoin", { socket: a.id, broadcast: true, rooms: ["not-a"] });
  await run.command("socketsLeave", { to: ["r2"], except: ["r3"], rooms: ["y", "r1"] });
  await run.command("socketsLeave", { rooms: ["r3"] });
  const rooms = {};
  for (const client of run.clients) rooms[client.name] = await run.command("rooms", { socket: client.id });
  for (const room of ["x", "y", "not-a", "r1", "r3"]) await run.command("emit", { to: [room], event: "news", args: [room] });
  await run.settle();
  return run.transcript({ rooms });
});

for (const close of [false, true]) {
  scenario(`disconnectSockets, close ${close}`, async (run) => {
    const [a, b, c] = await three(run);
    await run.command("disconnectSockets", { to: ["r1"], close });
    await Promise.all([a, b].map((x) => x.disconnected()));
    await Promise.all([a, b].map((x) => run.waitDisconnect(x)));
    c.emit("echo", "still here");
    await run.settle();
    return run.transcript({ left: (await run.command("sockets")).length });
  });
}

scenario("a volatile emit to a client that is connected and idle", { only: ["websocket"] }, async (run) => {
  const [a] = await three(run);
  await run.settle();
  await run.command("emit", { socket: a.id, volatile: true, event: "news", args: ["to a"] });
  await run.settle();
  await run.command("emit", { to: ["r2"], volatile: true, event: "news", args: ["to r2"] });
  await run.settle();
});

scenario("rooms by the clients' own wish", async (run) => {
  await run.create();
  const [a, b, c] = await run.connectAll("a", "b", "c");
  for (const client of [a, b]) await client.ask("join", "lobby");
  a.emit("to-room", "lobby", "hi");
  await run.settle();
  c.emit("to-room", "lobby", "from outside");
  await run.settle();
});

scenario("a server-side emit on a single node reaches nobody", async (run) => {
  await run.create();
  await run.connect("a");
  await run.command("watchServerSide", { event: "hello" });
  const sent = await run.attempt("serverSideEmit", { event: "hello", args: [1, "2"] });
  const reserved = [];
  for (const event of ["connect", "connection", "new_namespace"]) reserved.push(Boolean((await run.attempt("serverSideEmit", { event, args: [] })).error));
  await run.settle();
  return run.transcript({ sent: Boolean(sent.error), reserved });
});

scenario("rooms whose names hold half a character stay apart", async (run) => {
  await run.create();
  const names = ["u\ud800", "u\ud801", "u\udc00x", "u\ufffd", "u\u{10000}"];
  const clients = await run.connectAll(...names.map((_, i) => `c${i}`));
  const sender = await run.connect("sender");
  for (const [i, name] of names.entries()) await clients[i].ask("join", name);
  for (const name of names) sender.emit("to-room", name, `for ${JSON.stringify(name)}`);
  await run.settle();
  const echoed = await Promise.all(names.map((name) => sender.ask("ack", name)));
  return { echoed, events: clients.map((c) => c.events) };
});
