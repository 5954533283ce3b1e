// A Node program as many have it, and `sockeye serve` beside it on one Redis: users of both talk, with one front end.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { io } from "socket.io-client";
import { until } from "./lib/mixed.mjs";
import { startRedis } from "./lib/redis.mjs";
import { start } from "./lib/servers.mjs";

let redis;
before(async () => {
  redis = await startRedis();
});
after(() => redis?.stop());

/** The front end: it knows nothing of nodes or languages. */
class FrontEnd {
  constructor(url, user) {
    this.received = [];
    this.socket = io(url, { forceNew: true });
    this.socket.on("connect", () => this.socket.emit("login", user));
    this.socket.on("receive", (message) => this.received.push(message));
  }
  send(to, message) {
    this.socket.emit("send", { to, message });
  }
}

// A Node node may subscribe to a user's channel a moment after the login.
async function greet(from, user, to) {
  await until(`${user} is heard`, async () => {
    from.send(user, "are you there?");
    await new Promise((resolve) => setTimeout(resolve, 20));
    return to.received.length > 0;
  });
  from.send(user, "that is all");
  await until(`${user} has heard it`, () => to.received.includes("that is all"));
  to.received.length = 0;
}

const messages = ["hello", { text: "h\u00e9 \u{1f600}", list: [1, null, 0.5] }, "", Buffer.from([1, 2, 3]), { file: Buffer.from([255]), name: "x" }, 7, null];

const clusters = {
  pubsub: ["--adapter", "pubsub", "--key", "seed-pubsub"],
  sharded: ["--adapter", "sharded", "--key", "seed-sharded"],
  streams: ["--adapter", "streams", "--stream-name", "seed-streams"],
};

for (const [name, args] of Object.entries(clusters)) {
  test(`the seed program and sockeye serve, ${name}`, { timeout: 60_000 }, async () => {
    const flags = ["--redis", redis.url, ...args];
    const servers = [];
    const users = [];
    try {
      servers.push(await start("reference", "serve", ["--app", "seed", ...flags]));
      servers.push(await start("sockeye", "serve", ["--app", "chat", ...flags]));
      const [ann, bob, ann2] = ["ann", "bob", "ann"].map((user, i) => users[users.push(new FrontEnd(servers[i % 2].url, user)) - 1]);
      await greet(ann, "bob", bob);
      await greet(bob, "ann", ann);
      await until("the other window of ann is quiet", () => ann2.received.includes("that is all"));
      ann2.received.length = 0;
      for (const message of messages) {
        ann.send("bob", message);
        bob.send("ann", message);
      }
      for (const user of users) await until("every message", () => user.received.length >= messages.length);
      for (const user of users) assert.deepEqual(user.received, messages);
    } finally {
      for (const user of users) user.socket.disconnect();
      await Promise.all(servers.map((server) => server.stop()));
    }
  });
}
