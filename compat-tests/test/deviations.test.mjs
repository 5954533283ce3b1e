// Where Sockeye does otherwise on purpose: each row says what the reference does and what Sockeye does, and fails when
// either changes. The migration guide tells it under "What behaves differently".
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { PacketClient } from "./lib/packetclient.mjs";
import { Scenario } from "./lib/scenario.mjs";
import { selfCheck, shared, sides, stopShared } from "./lib/servers.mjs";
import { Names } from "./lib/transcript.mjs";

after(stopShared);

let counter = 0;

/** Registers script(run), whose result at each side must be the one that is named for it. */
function deviation(name, expected, script) {
  for (const side of sides) {
    test(`${name}: ${side}`, { skip: selfCheck && side === "sockeye" && "compares with itself", timeout: 30000 }, async () => {
      const server = await shared(side, "scenario", []);
      const run = new Scenario({ server, names: new Names(), mode: "websocket", nsp: `/deviation${++counter}` });
      try {
        await run.create();
        assert.deepEqual(await script(run), expected[side]);
      } finally {
        run.end();
      }
    });
  }
}

deviation("a volatile packet right behind another one", { reference: [1], sockeye: [1, 2] }, async (run) => {
  const a = await run.connect("a");
  a.emit("volatile-behind");
  await run.settle();
  return a.events.filter(([event]) => event === "item").map(([, n]) => n);
});

deviation("an event right in front of a DISCONNECT", { reference: [], sockeye: ["last words"] }, async (run) => {
  const watcher = await run.connect("watcher");
  const c = await PacketClient.open(run.server.addr, run.names);
  await c.connect(`40${run.nsp},`, 1);
  const socket = c.log.ws._socket;
  socket.cork(); // one segment
  c.send(`42${run.nsp},["relay","last words"]`, `41${run.nsp},`);
  socket.uncork();
  await run.waitLog((e) => e.event === "disconnect");
  await run.settle();
  c.destroy();
  return watcher.events.filter(([event]) => event === "relayed").map(([, text]) => text);
});

deviation("a handler that waits for an ack", { reference: ["echo", "answer"], sockeye: ["answer", "echo"] }, async (run) => {
  const a = await run.connect("a");
  const seen = [];
  let answer;
  const asked = new Promise((resolve) => a.socket.once("question", (_, reply) => resolve((answer = reply))));
  a.socket.on("echo", () => seen.push("echo"));
  const done = new Promise((resolve) => a.socket.emit("ask", "who?", () => resolve(seen.push("answer"))));
  await asked;
  a.emit("echo", 1);
  // Another client's round trip: by then the echo could have come.
  await run.connect("b");
  await new Promise((resolve) => setTimeout(resolve, 50));
  answer("me");
  await done;
  if (!seen.includes("echo")) await new Promise((resolve) => a.socket.once("echo", resolve));
  return seen;
});
