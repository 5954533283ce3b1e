// What a message to one user costs a cluster, as the number of nodes grows: CPU of all nodes and of those that the user is not on, and what
// Redis delivers. Sockeye's chat against the reference's, for which a user is a room. Not a test: node users-cost.mjs [adapter]
import fs from "node:fs";
import { createClient } from "redis";
import { until } from "./test/lib/mixed.mjs";
import { startRedis } from "./test/lib/redis.mjs";
import { Chat } from "./test/lib/users.mjs";

const MESSAGES = 2000;
const adapter = process.argv[2] ?? "sharded";
const redis = await startRedis();
const client = await createClient({ url: redis.url }).connect();

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The nanoseconds that the threads of a process have run. */
function cpu(node) {
  const tasks = `/proc/${node.child.pid}/task`;
  return fs.readdirSync(tasks).reduce((sum, task) => sum + Number(fs.readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0]), 0);
}

const sent = async () => Number(/total_net_output_bytes:(\d+)/.exec(await client.info("stats"))[1]);

async function measure(side, count) {
  const chat = new Chat(redis, adapter, `${side}-${count}`);
  try {
    const nodes = await chat.start(side, Array.from({ length: count }, (_, i) => `n${i}`), "serve", ["--app", "chat"]);
    if (side === "sockeye") await chat.knowsOthers(nodes, false);
    const [ann, bob] = await Promise.all(["ann", "bob"].map((user, i) => chat.login(nodes[i], user)));
    await until("bob is reached", async () => (await ann.send("bob", "hello")) && bob.received.length > 0);
    await later(1000);
    bob.received.length = 0;
    const [begun, before, bytes] = [Date.now(), nodes.map(cpu), await sent()];
    for (let i = 0; i < MESSAGES; i += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, j) => ann.send("bob", i + j)));
    }
    await until("they arrive", () => bob.received.length >= MESSAGES);
    const [took, after, bytesAfter] = [Date.now() - begun, nodes.map(cpu), await sent()];
    await later(took); // what the nodes use when nothing is said does not count
    const used = nodes.map((node, i) => (2 * after[i] - before[i] - cpu(node)) / MESSAGES / 1000);
    const others = used.slice(2).reduce((sum, us) => sum + us, 0);
    console.log(`${side.padEnd(9)} ${String(count).padStart(2)} nodes: ${used.reduce((sum, us) => sum + us, 0).toFixed(0)} µs of CPU for each message, ${others.toFixed(1)} of it on the ${count - 2} others; ${((bytesAfter - bytes) / MESSAGES).toFixed(0)} bytes from Redis`);
  } finally {
    await chat.stop();
  }
}

for (const count of [2, 5, 10]) for (const side of ["sockeye", "reference"]) await measure(side, count);
await client.disconnect();
await redis.stop();
