// What a message to a user costs the nodes that the user is not on: nothing. Redis and the kernel tell.
import assert from "node:assert/strict";
import fs from "node:fs";
import { after, before, test } from "node:test";
import { until } from "./lib/mixed.mjs";
import { Monitor } from "./lib/monitor.mjs";
import { startRedis } from "./lib/redis.mjs";
import { selfCheck } from "./lib/servers.mjs";
import { adapters, Chat } from "./lib/users.mjs";

let redis, monitor;
before(async () => {
  redis = await startRedis();
  monitor = await Monitor.open(redis.url);
});
after(async () => {
  await monitor?.close();
  await redis?.stop();
});

// The reference has no directory: what it sends to a user goes to all nodes.
const options = { skip: selfCheck, timeout: 120_000 };

/** What nodes say to each other about themselves, all the time. */
const membership = (channel) => channel.includes("-members#") || channel === "sockeye#hello";

/** Checks that each message was heard by one node. */
async function inInboxes(published) {
  for (const { channel, text } of published) {
    const { plain, sharded, patterns } = await monitor.listeners(channel);
    // The pattern of the classic adapter covers KEY#NAMESPACE#, and an inbox begins with KEY-response#.
    const byPattern = patterns > 0 && !channel.includes("-response#");
    assert.ok(plain + sharded === 1 && !byPattern, `${channel} is heard by ${plain + sharded} nodes${byPattern ? " and a pattern" : ""}: ${text}`);
  }
}

for (const adapter of adapters) {
  test(`a chat of three nodes, ${adapter}`, options, async () => {
    const chat = new Chat(redis, adapter, `traffic-${adapter}`);
    try {
      const [a, b, c] = await chat.start("sockeye", ["a", "b", "c"]);
      await chat.knowsOthers([a, b, c], false);
      // ann is on a and c, bob on b alone, and cid on all three.
      const [ann, ann2, bob] = [await chat.login(a, "ann"), await chat.login(c, "ann"), await chat.login(b, "bob")];
      const cids = [await chat.login(a, "cid"), await chat.login(b, "cid"), await chat.login(c, "cid")];
      /** Runs a step and returns what was published during it, but for the nodes' talk about themselves. */
      const published = async (step) => {
        await monitor.clear();
        await step();
        const list = (await monitor.published()).filter(({ channel }) => !membership(channel));
        await inInboxes(list);
        return list;
      };
      const copies = (list, text) => list.filter((message) => message.text.includes(text)).length;

      const first = await published(async () => {
        assert.deepEqual(await ann.send("bob", "message one"), { online: true, devices: 1 });
        await bob.expect(["message one"]);
        await until("the other window of ann has its copy", () => ann2.events.length === 1);
      });
      assert.deepEqual(ann2.events, [["sent", "message one", { to: "bob" }]]);
      assert.equal(copies(first, "receive"), 1, "one inbox for the one node that holds bob");
      assert.equal(copies(first, "message one"), 2, "and one for the other node that holds ann");

      const many = await published(async () => {
        for (let i = 0; i < 100; i++) ann.socket.emit("send", { to: "bob", message: `text ${i}.` });
        assert.deepEqual(await bob.send("cid", "message two"), { online: true, devices: 3 });
        for (const cid of cids) await cid.expect(["message two"]);
        await bob.expect(Array.from({ length: 100 }, (_, i) => `text ${i}.`));
        await until("the other window of ann has all copies", () => ann2.events.length === 101);
      });
      assert.equal(copies(many, "message two"), 2, "one for each of the other nodes that hold cid");
      for (let i = 0; i < 100; i++) assert.equal(copies(many, `text ${i}.`), 2);

      const typing = await published(async () => {
        await ann.ask("typing", { to: "bob" });
        await until("bob is told", () => bob.events.length > 0);
      });
      assert.deepEqual(bob.events, [["typing", { from: "ann" }]]);
      assert.equal(copies(typing, "typing"), 1);

      const toNobody = await published(async () => assert.deepEqual(await ann.send("nobody", "message three"), { online: false, devices: 0 }));
      assert.deepEqual([toNobody.length, copies(toNobody, "sent")], [1, 1], "only the sender's other window is told");

      await published(() => ann.send("ann", "message four"));
      await Promise.all([ann.expect(["message four"]), ann2.expect(["message four"])]);
    } finally {
      await chat.stop();
    }
  });
}

test("ten nodes: eight of them do nothing for a message to one user", options, async () => {
  const chat = new Chat(redis, "sharded", "ten");
  try {
    const nodes = await chat.start("sockeye", Array.from({ length: 10 }, (_, i) => `n${i}`));
    await chat.knowsOthers(nodes, false);
    const [ann, bob] = [await chat.login(nodes[0], "ann"), await chat.login(nodes[1], "bob")];
    await ann.send("bob", "the first one asks the store");
    await bob.expect(["the first one asks the store"]);
    const load = async (count) => {
      const begun = Date.now();
      for (let i = 0; i < count; i += 100) {
        await Promise.all(Array.from({ length: 100 }, (_, j) => ann.send("bob", i + j)));
      }
      await until("all have arrived", () => bob.received.length === count);
      return Date.now() - begun;
    };
    await monitor.clear();
    await load(100);
    const list = (await monitor.published()).filter(({ channel }) => !membership(channel));
    await inInboxes(list.filter((message, i) => list.findIndex(({ channel }) => channel === message.channel) === i));
    assert.equal(new Set(list.map(({ channel }) => channel)).size, 2, "the inboxes of the two nodes that talk");
    bob.received.length = 0;

    const messages = 2000;
    const before = nodes.map(cpu);
    const took = await load(messages);
    const used = nodes.map((node, i) => cpu(node) - before[i]);
    const idle = nodes.map(cpu);
    await new Promise((resolve) => setTimeout(resolve, took));
    const rest = nodes.map((node, i) => cpu(node) - idle[i]);
    const each = (ns) => ((ns / messages) / 1000).toFixed(2);
    const busiest = Math.max(...used.slice(2).map((ns, i) => ns - rest[i + 2]));
    console.log(`µs of CPU for each of ${messages} messages: ${each(used[0])} where it was sent, ${each(used[1])} where it arrived, at most ${each(busiest)} elsewhere`);
    assert.ok(busiest < 0.05 * used[1], `a node that the user is not on used ${each(busiest)} µs for each message`);
  } finally {
    await chat.stop();
  }
});

/** The nanoseconds that the threads of a node have run. */
function cpu(node) {
  const tasks = `/proc/${node.child.pid}/task`;
  return fs.readdirSync(tasks).reduce((sum, task) => sum + Number(fs.readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0]), 0);
}
