// The directory beside nodes that keep none: those of Node.js, which know a user as a room, and Sockeye nodes without one.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { until } from "./lib/mixed.mjs";
import { startRedis } from "./lib/redis.mjs";
import { Scenario } from "./lib/scenario.mjs";
import { selfCheck } from "./lib/servers.mjs";
import { Names } from "./lib/transcript.mjs";
import { adapters, Chat } from "./lib/users.mjs";

let redis;
before(async () => {
  redis = await startRedis();
});
after(() => redis?.stop());

const options = { skip: selfCheck, timeout: 120_000 };

/** Waits until messages from each of the senders reach each of the devices, and forgets them. */
async function acquaint(senders, devices) {
  for (const [i, sender] of senders.entries()) {
    for (const device of devices) {
      await until(`${sender.user} reaches ${device.user}`, async () => {
        await sender.send(device.user, `probe ${i}`);
        return device.received.includes(`probe ${i}`);
      });
    }
  }
  // A probe that was sent before may still be under way; the last word comes behind it.
  for (const [i, sender] of senders.entries()) {
    for (const user of new Set(devices.map(({ user }) => user))) await sender.send(user, `end ${i}`);
  }
  for (const device of devices) {
    await until(`${device.user} has the last words`, () => senders.every((_, i) => device.received.includes(`end ${i}`)));
    device.received.length = 0;
  }
}

/** Has each sender send each user some messages, and checks that each device gets each of them once. */
async function talk(senders, devices, round) {
  const users = [...new Set(devices.map(({ user }) => user))];
  const messages = 10;
  const text = (sender, user, i) => `${round}: ${i} from ${senders.indexOf(sender)} to ${user}`;
  await Promise.all(senders.flatMap((sender) => users.flatMap((user) => Array.from({ length: messages }, (_, i) => sender.send(user, text(sender, user, i))))));
  for (const device of devices) await device.expect(senders.flatMap((sender) => Array.from({ length: messages }, (_, i) => text(sender, device.user, i))));
}

/** A socket that watches presence, and knows whether the last news were incomplete. */
async function watcher(chat, node) {
  const device = await chat.login(node, "watcher");
  device.incomplete = (await device.ask("watch", null)).incomplete ?? false;
  device.socket.on("presence", (change) => (device.incomplete = change.incomplete ?? false));
  return device;
}

// Most of it is waiting: a directory looks for such nodes every few seconds.
test("clusters with nodes that keep no directory", { ...options, concurrency: adapters.length }, (t) => Promise.all(adapters.flatMap((adapter) => [
  t.test(`users on Sockeye and on Node.js nodes, ${adapter}`, async () => {
    const chat = new Chat(redis, adapter, `mixed-${adapter}`);
    try {
      const [go1, go2] = await chat.start("sockeye", ["go1", "go2"]);
      await chat.knowsOthers([go1, go2], false);
      const watch = await watcher(chat, go2);
      const [ann, bob] = [await chat.login(go1, "ann"), await chat.login(go2, "bob")];
      await talk([ann, bob], [ann, bob], "alone");
      assert.equal(watch.incomplete, false);

      const [node] = await chat.start("reference", ["node"]);
      await chat.knowsOthers([go1, go2], true);
      await until("presence says that it is incomplete", () => watch.incomplete);
      // nora is on the Node.js node alone, and bob there, too.
      const [nora, bob2] = [await chat.login(node, "nora"), await chat.login(node, "bob")];
      const senders = [ann, bob, nora];
      const devices = [ann, bob, nora, bob2];
      await acquaint(senders, devices);
      await talk(senders, devices, "mixed");
      assert.deepEqual(await ann.send("nora", "there?"), { online: true, devices: 1 });
      assert.deepEqual(await ann.send("bob", "there?"), { online: true, devices: 2 });
      assert.deepEqual(await ann.send("nobody", "there?"), { online: false, devices: 0 });
      for (const device of [nora, bob, bob2]) await device.expect(["there?"]);

      // A user comes to a Sockeye node while the others go on, and the Node.js node reaches him at once.
      const carl = await chat.login(go1, "carl");
      await nora.send("carl", "welcome");
      await bob.send("carl", "welcome, too");
      await carl.expect(["welcome", "welcome, too"]);

      await node.stop();
      await chat.knowsOthers([go1, go2], false);
      await until("presence says that it is complete", () => !watch.incomplete);
      await talk([ann, bob], [ann, bob, carl], "alone again");
      assert.deepEqual(await ann.send("nora", "gone?"), { online: false, devices: 0 });

      // And once more: what was learned of the first one must not count for the second.
      const [node2] = await chat.start("reference", ["node"]);
      await chat.knowsOthers([go1, go2], true);
      const nora2 = await chat.login(node2, "nora");
      await acquaint([ann, bob, nora2], [ann, bob, nora2]);
      await talk([ann, bob, nora2], [ann, bob, nora2], "mixed again");
    } finally {
      await chat.stop();
    }
  }),

  t.test(`a Sockeye node without a directory, ${adapter}`, async () => {
    const chat = new Chat(redis, adapter, `without-${adapter}`);
    try {
      const [go1, go2] = await chat.start("sockeye", ["go1", "go2"]);
      await chat.knowsOthers([go1, go2], false);
      const [ann, bob] = [await chat.login(go1, "ann"), await chat.login(go2, "bob")];
      const [other] = await chat.start("sockeye", ["other"], "scenario", []);
      const scenario = new Scenario({ server: other, names: new Names(), mode: "websocket", nsp: "/" });
      await chat.knowsOthers([go1, go2], true);
      const guest = await scenario.connect("guest");
      const heard = [];
      guest.socket.on("receive", (message) => heard.push(message));
      for (const user of ["guest", "bob"]) await guest.ask("join", user); // bob is here, too, for those who know rooms only
      await until("both reach the guest", async () => {
        for (const sender of [ann, bob]) await sender.send("guest", `probe of ${sender.user}`);
        return heard.includes("probe of ann") && heard.includes("probe of bob");
      });
      await bob.send("guest", "end");
      await ann.send("guest", "end");
      await until("the last words have come", () => heard.filter((text) => text === "end").length === 2);
      heard.length = 0;

      const numbers = Array.from({ length: 20 }, (_, i) => i);
      await Promise.all(numbers.flatMap((i) => [ann.send("guest", `a${i}`), bob.send("guest", `b${i}`), ann.send("bob", `ab${i}`)]));
      await bob.expect(numbers.map((i) => `ab${i}`));
      await until("all have come", () => heard.length >= 60);
      assert.deepEqual([...heard].sort(), numbers.flatMap((i) => [`a${i}`, `b${i}`, `ab${i}`]).sort());
      for (const i of numbers) await scenario.command("emit", { event: "receive", args: [i], to: ["ann"] });
      await ann.expect(numbers);
      assert.deepEqual(await ann.send("guest", "there?"), { online: true, devices: 1 });

      await scenario.command("close"); // with a good-bye: one that only falls silent may come back
      scenario.end();
      await chat.knowsOthers([go1, go2], false);
      await talk([ann, bob], [ann, bob], "alone");
    } finally {
      await chat.stop();
    }
  }),
])));
