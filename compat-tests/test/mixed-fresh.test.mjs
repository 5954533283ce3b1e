// What a Go node, or a Go emitter, sends to a room right behind socketsJoin arrives where rooms have channels of their own, once and in order.
// Between Node nodes it is lost.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Cluster, flavours, full, startNodes } from "./lib/mixed.mjs";
import { startRedis } from "./lib/redis.mjs";

const rounds = [...Array(12).keys()];
const sides = { node: "reference", go: "sockeye", go2: "sockeye" };
let redis;

before(async () => {
  redis = await startRedis();
});
after(() => redis?.stop());

/** Returns what the clients of the other node have got of what was sent to rooms that they had just been made to join. */
async function send(nodes, to, emitter) {
  const c = new Cluster({ from: nodes.go, to: nodes[to], nsp: `/${to}-${emitter}`, emitter });
  try {
    const clients = await c.setUp("b1", "b2");
    const selection = { to: clients.map((client) => client.id) };
    const sent = rounds.flatMap((i) => [
      c.do("socketsJoin", { ...selection, rooms: [`room ${i}`] }),
      c.do("emit", { to: [`room ${i}`], event: "news", args: [i] }),
    ]);
    await Promise.all(sent);
    await c.flush();
    return clients.map(({ events }) => events.filter(([event]) => event === "news").map(([, i]) => i));
  } finally {
    c.end();
  }
}

const modes = flavours.filter(({ name }) => (full ? /^sharded/ : /^sharded dynamic$/).test(name));

for (const flavour of modes) {
  describe(flavour.name, () => {
    let nodes;
    before(async () => {
      nodes = await startNodes(redis, flavour, sides);
    });
    after(() => nodes?.stop());
    for (const [to, emitter] of [["node", false], ["go2", false], ["node", true], ["go2", true]]) {
      test(`Go ${emitter ? "emitter " : ""}to ${sides[to]}`, { timeout: 60_000 }, async () => {
        assert.deepEqual(await send(nodes, to, emitter), [rounds, rounds]);
      });
    }
  });
}
