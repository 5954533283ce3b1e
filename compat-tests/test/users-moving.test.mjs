// A user moves from node to node under a stream of numbered messages from every node.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { until } from "./lib/mixed.mjs";
import { startRedis } from "./lib/redis.mjs";
import { selfCheck } from "./lib/servers.mjs";
import { adapters, Chat } from "./lib/users.mjs";

let redis;
before(async () => {
  redis = await startRedis();
});
after(() => redis?.stop());

const MOVES = 25;

/** Sends numbered messages to a user, one after the other, until it is stopped. */
class Stream {
  sent = []; // {text, begun, answered, online}
  constructor(device, to) {
    this.running = true;
    this.ended = this.#run(device, to);
    this.ended.catch(() => {}); // a test that fails closes the sockets; else stop tells
  }
  async #run(device, to) {
    for (let n = 0; this.running; n++) {
      const message = { text: `${device.user} ${n}`, begun: performance.now() };
      this.sent.push(message);
      const { online } = await device.send(to, message.text);
      Object.assign(message, { online, answered: performance.now() });
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  async stop() {
    this.running = false;
    await this.ended;
    return this.sent;
  }
  /** What the server was sent between two moments, as far as one can tell: begun after the one, answered before the other. */
  between(from, to) {
    return this.sent.filter(({ begun, answered }) => begun >= from && answered <= to).map(({ text }) => text);
  }
  /** What was begun up to now. */
  begun() {
    return this.sent.map(({ text }) => text);
  }
}

test("a user who moves", { skip: selfCheck, timeout: 120_000, concurrency: adapters.length }, (t) => Promise.all(adapters.map((adapter) =>
  t.test(adapter, async () => {
    const chat = new Chat(redis, adapter, `moving-${adapter}`);
    try {
      const nodes = await chat.start("sockeye", ["a", "b", "c"]);
      await chat.knowsOthers(nodes, false);
      const senders = await Promise.all(nodes.map((node, i) => chat.login(node, `sender-${i}`)));
      const come = async (i) => Object.assign(await chat.login(nodes[i % 3], "mo"), { since: performance.now() });
      // A device must have what was sent while it was there, before it goes.
      const complete = async (device, streams, upTo) => {
        const due = streams.flatMap((stream) => stream.between(device.since, upTo));
        const missing = () => due.filter((text) => !device.received.includes(text));
        await until("the device has everything", () => missing().length === 0).catch(() => assert.deepEqual(missing(), [], `of ${due.length} messages`));
        return due.length;
      };
      const leave = (device) => device.socket.disconnect();
      const twice = (device) => device.received.filter((text, i) => device.received.indexOf(text) !== i);

      // The new device is there before the old one goes: every message reaches one of them.
      let device = await come(0);
      const devices = [device];
      let streams = senders.map((sender) => new Stream(sender, "mo"));
      const begun = performance.now();
      for (let i = 1; i <= MOVES; i++) {
        const upTo = performance.now();
        devices.push(await come(i));
        await complete(device, streams, upTo);
        // What was on its way to the old device when the new one came must not be cut off with its connection.
        const early = streams.flatMap((stream) => stream.begun());
        const lacking = () => early.filter((text) => !devices.some(({ received }) => received.includes(text)));
        await until("the devices have what was begun", () => lacking().length === 0).catch(() => assert.deepEqual(lacking(), [], `move ${i}`));
        leave(device);
        device = devices.at(-1);
      }
      let sent = (await Promise.all(streams.map((stream) => stream.stop()))).flat();
      const all = () => new Set(devices.flatMap(({ received }) => received));
      await until("every message has reached a device", () => all().size === sent.length).catch(() => {});
      assert.deepEqual(sent.filter(({ text }) => !all().has(text)), [], `of ${sent.length} messages`);
      assert.deepEqual(sent.filter(({ online }) => !online), [], "he was always somewhere");
      assert.deepEqual(devices.flatMap(twice), []);
      console.log(`${adapter}: ${MOVES} moves in ${Math.round(performance.now() - begun)} ms, all of ${sent.length} messages arrived`);

      // The old device goes before the new one comes: what is sent in between finds nobody, and the answer says so.
      streams = senders.map((sender) => new Stream(sender, "mo"));
      devices.length = 0;
      let whole = 0;
      for (let i = 1; i <= MOVES; i++) {
        device.received.length = 0;
        devices.push((device = Object.assign(device, { since: performance.now() })));
        await until("some messages are sent", () => streams.every((stream) => stream.between(device.since, Infinity).length >= 3));
        whole += await complete(device, streams, performance.now());
        leave(device);
        device = await come(i);
      }
      sent = (await Promise.all(streams.map((stream) => stream.stop()))).flat();
      assert.deepEqual(devices.flatMap(twice), []);
      const missed = sent.filter(({ text }) => !all().has(text) && !device.received.includes(text));
      console.log(`${adapter}: ${sent.length} messages while he came and went, ${whole} of them while he was there; ${missed.length} found nobody or were cut off with the connection, ${missed.filter(({ online }) => !online).length} of these with that answer`);
      assert.ok(missed.length <= sent.length - whole);
      assert.deepEqual(await senders[1].send("mo", "at last"), { online: true, devices: 1 });
      await until("the last device has it", () => device.received.includes("at last"));
    } finally {
      await chat.stop();
    }
  }),
)));
