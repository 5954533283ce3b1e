// Connection state recovery on one node: the npm client loses its connection and comes back.
import assert from "node:assert/strict";
import test, { after } from "node:test";
import { io } from "socket.io-client";
import { scenario } from "./lib/scenario.mjs";
import { start, stopShared } from "./lib/servers.mjs";

after(stopShared);

const args = ["--connection-state-recovery", "1m"];
const reconnecting = { reconnection: true, reconnectionDelay: 300, reconnectionDelayMax: 300, randomizationFactor: 0 };

/** Offsets are each server's own; the scripts' events end in no text. */
function withoutOffsets(list) {
  return list.map((event) => (Array.isArray(event) && typeof event.at(-1) === "string" && event.length > 1 ? [...event.slice(0, -1), "(offset)"] : event));
}

/** Breaks the connection without a word to either side's Socket.IO. */
function lose(client) {
  const { transport } = client.socket.io.engine;
  if (transport.ws) transport.ws.terminate?.() ?? transport.ws.close();
  else client.socket.io.engine.close(); // a polling client can only say that it goes
}

async function lost(run, a) {
  lose(a);
  await a.disconnected();
  await run.waitDisconnect(a);
}

async function back(run, a) {
  await a.reconnected();
  await run.settle();
  const { clients, server } = run.transcript();
  return { clients: Object.fromEntries(Object.entries(clients).map(([name, events]) => [name, withoutOffsets(events)])), server, recovered: a.socket.recovered };
}

const transports = { only: ["websocket", "upgrade"] };

scenario("a client that comes back gets what it has missed", { args, ...transports }, async (run) => {
  await run.create({ use: ["log:middleware"] });
  const a = await run.connect("a", reconnecting);
  await a.upgraded();
  const b = await run.connect("b");
  await run.command("join", { socket: a.id, rooms: ["red"] });
  await run.command("setData", { socket: a.id, key: "name", value: "x" });
  await run.command("emit", { event: "first", args: [1] });
  await run.settle();
  await lost(run, a);
  await run.command("emit", { event: "all", args: [1] });
  await run.command("emit", { event: "binary", args: [{ $bin: "0102" }, { a: [{ $bin: "03" }] }] });
  await run.command("emit", { event: "room", to: ["red"], args: [2] });
  await run.command("emit", { event: "not", to: ["blue"], args: [3] });
  await run.command("emit", { event: "not", except: ["red"], args: [4] });
  await run.command("emit", { event: "volatile", flags: { volatile: true }, args: [5] });
  await run.command("emit", { event: "own", to: [a.ids[0]], args: [6] });
  const seen = await back(run, a);
  return { ...seen, same: a.ids[0] === a.id, sockets: await run.command("fetchSockets"), b: b.socket.recovered };
});

scenario("a client of an unknown session starts anew", { args, ...transports }, async (run) => {
  await run.create({ use: ["log:middleware"] });
  const a = await run.connect("a", reconnecting);
  await a.upgraded();
  await run.command("emit", { event: "first", args: [1] });
  await run.settle();
  a.socket._pid = "AAAAAAAAAAAAAAAAAAAA";
  await lost(run, a);
  await run.command("emit", { event: "missed", args: [2] });
  return { ...(await back(run, a)), same: a.ids[0] === a.id };
});

scenario("a client with an offset that is none starts anew", { args, ...transports }, async (run) => {
  await run.create();
  const a = await run.connect("a", reconnecting);
  await a.upgraded();
  await run.command("emit", { event: "first", args: [1] });
  await run.settle();
  a.socket._lastOffset = "hello";
  await lost(run, a);
  return { ...(await back(run, a)), same: a.ids[0] === a.id };
});

scenario("a client that was disconnected by the server starts anew", { args, ...transports }, async (run) => {
  await run.create();
  const a = await run.connect("a");
  await a.upgraded();
  await run.command("emit", { event: "first", args: [1] });
  await run.settle();
  await run.command("disconnect", { socket: a.id, close: false });
  await a.disconnected();
  a.socket.connect();
  await a.reconnected();
  return { recovered: a.socket.recovered, same: a.ids[0] === a.id };
});

// What the reference cannot do: it is asked in the same run, so that the day is seen on which it can.
for (const side of ["reference", "sockeye"]) {
  test(`a client that has received nothing comes back (${side})`, async () => {
    const server = await start(side, "serve", [...args, "--app", "conformance"]);
    const client = io(server.url, { transports: ["websocket"], ...reconnecting });
    try {
      await new Promise((resolve) => client.on("auth", resolve)); // an event that ends in no text carries an offset where it is kept
      client._lastOffset = undefined;
      const again = new Promise((resolve) => client.io.once("reconnect", () => client.once("connect", resolve)));
      client.io.engine.transport.ws.terminate?.() ?? client.io.engine.transport.ws.close();
      await again;
      assert.equal(client.recovered, side === "sockeye");
    } finally {
      client.disconnect();
      await server.stop();
    }
  });
}
