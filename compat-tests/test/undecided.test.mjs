// Namespaces that a client leaves and joins while the server decides, as React's strict mode does, and what comes right
// behind a DISCONNECT. The reference leaves two sockets behind or closes the connection where Sockeye has one socket.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { PollingSession } from "./lib/engineclient.mjs";
import { PacketClient } from "./lib/packetclient.mjs";
import { Scenario, modes } from "./lib/scenario.mjs";
import { selfCheck, shared, stopShared } from "./lib/servers.mjs";
import { differential, Names } from "./lib/transcript.mjs";

after(stopShared);

const sequences = {
  "connect, disconnect, connect": (b) => b.connect().disconnect().connect(),
  "four times": (b) => b.connect().disconnect().connect().disconnect().connect().disconnect().connect(),
  "with a turn between": async (b) => {
    b.connect();
    await new Promise(setImmediate);
    b.disconnect();
    await new Promise(setImmediate);
    b.connect();
  },
  "connected, then disconnect, connect": async (b) => {
    b.connect();
    await new Promise((resolve) => b.once("echo", resolve));
    b.disconnect().connect();
  },
};

let counter = 0;

for (const mode of Object.keys(modes)) {
  for (const use of [[], ["async"], ["async", "async"]]) {
    for (const [name, play] of Object.entries(sequences)) {
      test(`${name}, ${use.length} middlewares (${mode})`, { skip: selfCheck && "the reference does otherwise", timeout: 30000 }, async () => {
        const server = await shared("sockeye", "scenario", []);
        const run = new Scenario({ server, names: new Names(), mode, nsp: `/undecided${++counter}-${mode}` });
        try {
          await run.create();
          await run.command("create", { nsp: `${run.nsp}-b`, use });
          const main = await run.connect("main");
          await main.upgraded();
          const b = main.socket.io.socket(`${run.nsp}-b`, { forceNew: true });
          b.disconnect();
          b.emit("echo", "buffered");
          await play(b);
          if (!b.connected) await new Promise((resolve) => b.once("connect", resolve));
          await b.timeout(8000).emitWithAck("barrier");
          // An answer to an earlier CONNECT may have come first; the last one names the socket that stays.
          for (;;) {
            const ids = await run.command("sockets", { nsp: `${run.nsp}-b` });
            if (ids.length === 1 && ids[0] === b.id) break;
            await b.timeout(8000).emitWithAck("barrier");
          }
          // Handled once; a client that has left meanwhile does not see the answer.
          const handled = run.commands.log.filter((e) => e.nsp === `${run.nsp}-b` && e.name === "echo");
          assert.deepEqual(handled.map((e) => e.args), [["buffered"]]);
          assert.deepEqual(main.events, ["connect"]);
          assert.equal(await main.ask("ack", 1), 1);
        } finally {
          run.end();
        }
      });
    }
  }
}

const conformance = {
  args: ["--app", "conformance", "--ping-interval", "300ms", "--ping-timeout", "5s", "--connect-timeout", "1s", "--cors-origin", "*"],
};

const behind = {
  "an event": ['42/custom,["message",1]'],
  "an event that wants an ack": ['42/custom,5["message-with-ack",1]'],
  "an ack": ['43/custom,0["x"]'],
  "a second DISCONNECT": ["41/custom,"],
  "all of them": ['42/custom,["message",1]', '43/custom,0["x"]', "41/custom,", '42/custom,["message",2]'],
  "a binary event": ['451-/custom,["message",{"_placeholder":true,"num":0}]', Buffer.from([1, 2])],
  "a CONNECT_ERROR": ['44/custom,{"message":"x"}'],
};

for (const [name, packets] of Object.entries(behind)) {
  differential(`right behind a DISCONNECT over websocket: ${name}`, conformance, async ({ addr, names }) => {
    const c = await PacketClient.open(addr, names);
    await c.connect();
    await c.connect("40/custom,");
    const socket = c.log.ws._socket;
    socket.cork(); // one segment
    c.send("41/custom,", ...packets, '42["message","main"]');
    socket.uncork();
    const answer = await c.next();
    // The reference sees the end of a violation before the answer is on its way.
    const result = { answer: answer ?? null, closed: (c.log.closed && true) ?? null };
    c.destroy();
    return result;
  });
  differential(`right behind a DISCONNECT over polling: ${name}`, conformance, async ({ addr, names }) => {
    const session = await PollingSession.open(addr, names, "sid", { path: "/socket.io/" });
    const frames = [];
    const collect = async (n) => {
      while (frames.length < n) {
        const packets = await session.packets();
        if (packets[0].startsWith("status") || packets.includes("1")) return frames.push("closed");
        if (packets.includes("2")) await session.post("3");
        frames.push(...packets.filter((p) => p !== "2"));
      }
    };
    await session.post("40\x1e40/custom,");
    await collect(4);
    const text = packets.map((p) => (typeof p === "string" ? p : "b" + p.toString("base64")));
    await session.post(["41/custom,", ...text, '42["message","main"]'].join("\x1e"));
    await collect(5);
    return frames.slice(4);
  });
}
