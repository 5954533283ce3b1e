// Emitters that are not ours: what the clients of a Go node get of them must be what those of a Node node in the same cluster get. Part of
// `make compat`.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startNodes, until } from "./lib/mixed.mjs";
import { startRedis } from "./lib/redis.mjs";
import { Scenario } from "./lib/scenario.mjs";
import { provideSenders, Sender, senders } from "./lib/senders.mjs";
import { assertSame, Names } from "./lib/transcript.mjs";

const flavour = { name: "senders", adapter: "pubsub" };
let redis, nodes;

before(
  async () => {
    provideSenders();
    redis = await startRedis();
    nodes = await startNodes(redis, flavour, { node: "reference", go: "sockeye" });
  },
  { timeout: 600_000 },
);
after(async () => {
  await nodes?.stop();
  await redis?.stop();
});

const values = ["text", "é \u2028 😀", 0, -1, 1.5, 2 ** 40, true, null, { a: [1, { b: "c" }], "": {} }, [], [[1], "x"], "x".repeat(20_000)];
const orders = [
  { args: ["m"] },
  { args: ["m", ...values] },
  { args: ["to one room"], rooms: ["red"] },
  { args: ["to two rooms"], rooms: ["red", "blue"] },
  { args: ["to nobody"], rooms: ["nobody's"] },
  { args: [""] },
];
// What only some of them can say.
const more = {
  "pip socket.io-emitter": [],
  "npm socket.io-emitter": [
    { args: ["flags", 1], flags: ["json", "volatile", "broadcast"] },
    { args: ["undefined", { $undefined: true }, { a: { $undefined: true } }] },
    { args: ["binary", { $bin: "00ff" }, { list: [{ $bin: "" }] }] },
    { args: ["a date", { $date: 1_700_000_000_123 }] },
    { args: ["to undefined and a room"], rooms: [{ $undefined: true }, "red"] },
    { args: ["to a number"], rooms: [43] },
    { args: ["to a number and a room"], rooms: [43, "blue"] },
  ],
  PHP: [{ args: ["flags"], flags: ["volatile", "broadcast"] }],
};

for (const name of senders) {
  test(name, { timeout: 120_000 }, async () => {
    const nsp = `/${name.replace(/\W+/g, "-")}`;
    const names = new Names();
    const runs = ["node", "go"].map((side) => new Scenario({ server: nodes[side], names, mode: "websocket", nsp }));
    const sender = new Sender(name, redis, flavour.name, nsp);
    try {
      for (const run of runs) await run.create();
      const clients = [];
      for (const run of runs) {
        for (const room of ["red", "blue", 43]) {
          const client = await run.connect(`in ${room}`);
          await client.ask("join", room);
          client.socket.on("probe", () => (client.heard = true));
          client.socket.on("end", () => (client.ended = true));
          clients.push(client);
        }
      }
      await until(`${name} is heard`, async () => {
        await sender.send({ args: ["probe"] });
        return clients.every((client) => client.heard);
      });
      for (const order of [...orders, ...more[name], { args: ["end"] }]) await sender.send(order);
      await until(`${name} has been heard to the end`, () => clients.every((client) => client.ended));
      const [expected, found] = runs.map((run) => names.apply(run.clients.map(({ name, events }) => ({ name, events }))));
      assert.ok(expected.every(({ events }) => events.length > orders.length / 2));
      assertSame(expected, found);
    } finally {
      sender.kill();
      for (const run of runs) run.end();
    }
  });
}
