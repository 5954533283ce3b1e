// An unchanged client goes on at another node of a cluster, from Go to Node.js and back, with the streams adapter.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { io } from "socket.io-client";
import { startRedis } from "./lib/redis.mjs";
import { start } from "./lib/servers.mjs";

let redis;
before(async () => {
  redis = await startRedis();
});
after(() => redis?.stop());

const until = async (what, check, ms = 10_000) => {
  for (const end = Date.now() + ms; !(await check()); await new Promise((resolve) => setTimeout(resolve, 10))) {
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
  }
};

/** A scenario server that is told by commands. */
async function node(side, key, adapter = ["streams", "--stream-name", key]) {
  const server = await start(side, "scenario", ["--redis", redis.url, "--adapter", ...adapter, "--key", key, "--connection-state-recovery", "1m"]);
  const pending = new Map();
  let next = 1;
  server.onLine = (line) => {
    const { id, result, error } = JSON.parse(line);
    pending.get(id)?.(error === undefined ? result : Promise.reject(new Error(error)));
    pending.delete(id);
  };
  return {
    url: server.url,
    stop: () => server.stop(),
    kill: () => server.child.kill("SIGKILL"),
    run: (name, fields = {}) =>
      new Promise((resolve) => {
        pending.set(next, resolve);
        server.send(JSON.stringify({ id: next++, do: name, nsp: "/", ...fields }));
      }),
  };
}

/** How many servers a node knows; a Go node that has just started knows none. */
const count = (node) => node.run("serverCount").catch(() => 0);

/** The client tells the numbers of its events in order. */
function connect(url) {
  const client = io(url, { transports: ["websocket"], reconnectionDelay: 100, reconnectionDelayMax: 100, randomizationFactor: 0, forceNew: true });
  client.numbers = [];
  client.on("n", (number) => client.numbers.push(number));
  return client;
}

const hopping = [
  ["sockeye", "reference"],
  ["reference", "sockeye"],
  ["sockeye", "sockeye"],
];

for (const [from, to] of hopping) {
  test(`a client goes on, from ${from} to ${to}`, { timeout: 60_000 }, async () => {
    const key = `${from}-${to}`;
    const [a, b] = await Promise.all([node(from, key), node(to, key)]);
    const client = connect(a.url);
    try {
      await until("the nodes know each other", async () => (await count(a)) === 2 && (await count(b)) === 2);
      await until("the client is connected", () => client.connected);
      await a.run("join", { socket: client.id, rooms: ["red"] });
      await b.run("emit", { event: "n", args: [0] });
      await until("the first event is there", () => client.numbers.length === 1);
      const { id } = client;
      client.io.uri = b.url;
      client.io.engine.transport.ws.terminate?.() ?? client.io.engine.transport.ws.close();
      await a.run("emit", { event: "n", args: [1] });
      await b.run("emit", { event: "n", to: ["red"], args: [2] });
      await a.run("emit", { event: "n", to: ["blue"], args: [-1] });
      await b.run("emit", { event: "n", to: [id], args: [3] });
      await until("the client is back", () => client.connected && client.numbers.length >= 4);
      await a.run("emit", { event: "n", to: ["red"], args: [4] });
      await until("the client hears the other node", () => client.numbers.length >= 5);
      assert.equal(client.recovered, true);
      assert.equal(client.id, id);
      assert.deepEqual(client.numbers.toSorted(), [0, 1, 2, 3, 4]); // two nodes have sent 1 and 2 at the same time
      assert.deepEqual((await b.run("rooms", { socket: id })).sort(), ["red", id].sort());
    } finally {
      client.disconnect();
      await Promise.all([a.stop(), b.stop()]);
    }
  });
}

// What Node.js cannot do: nothing of a session is anywhere when its node is killed.
test("a client goes on whose node was killed", { timeout: 60_000 }, async () => {
  const [a, b] = await Promise.all([node("sockeye", "killed"), node("sockeye", "killed")]);
  const client = connect(a.url);
  try {
    await until("the nodes know each other", async () => (await count(b)) === 2);
    await until("the client is connected", () => client.connected);
    await a.run("join", { socket: client.id, rooms: ["red"] });
    await b.run("emit", { event: "n", to: ["red"], args: [0] });
    await until("the first event is there", () => client.numbers.length === 1);
    await new Promise((resolve) => setTimeout(resolve, 500)); // until the session has been written with its room, at the latest
    const { id } = client;
    client.io.uri = b.url;
    a.kill();
    await b.run("emit", { event: "n", to: ["red"], args: [1] });
    await until("the client is back", () => client.connected && client.numbers.length === 2);
    assert.equal(client.recovered, true);
    assert.equal(client.id, id);
  } finally {
    client.disconnect();
    await Promise.all([a.stop(), b.stop()]);
  }
});

// With the classic and the sharded adapter Node.js nodes hear what is kept, and write nothing into the log: nobody goes on while one is there.
for (const adapter of [["pubsub"], ["sharded"], ["sharded", "--subscription-mode", "static"]]) {
  test(`a client goes on with ${adapter.join(" ")}, and starts anew beside a Node.js node`, { timeout: 60_000 }, async () => {
    const key = adapter.join("");
    const [a, b] = await Promise.all([node("sockeye", key, adapter), node("sockeye", key, adapter)]);
    const client = connect(a.url);
    let foreign, other;
    const come = async (url, missed) => {
      client.io.uri = url;
      const again = new Promise((resolve) => client.io.once("reconnect", () => client.once("connect", resolve)));
      client.io.engine.transport.ws.terminate?.() ?? client.io.engine.transport.ws.close();
      await b.run("emit", { event: "n", args: [missed] });
      await again;
    };
    try {
      await until("the nodes know each other", async () => (await count(a)) === 2 && (await count(b)) === 2);
      await until("the client is connected", () => client.connected);
      await b.run("emit", { event: "n", args: [0] });
      await until("the first event is there", () => client.numbers.length === 1);
      await come(b.url, 1);
      assert.equal(client.recovered, true);
      await until("what was missed is there", () => client.numbers.length === 2);
      foreign = await node("reference", key, adapter);
      other = connect(foreign.url);
      await until("the other client is connected", () => other.connected);
      await until("the Node.js node is counted", async () => (await count(a)) === 3 && (await count(foreign)) === 3);
      await b.run("join", { socket: client.id, rooms: ["red"] });
      for (const [i, from] of [a, b, foreign].entries()) await from.run("emit", { event: "n", args: [2 + i] });
      await b.run("emit", { event: "n", to: ["red"], args: [-1] });
      await until("everybody hears everybody", () => other.numbers.length === 3);
      assert.deepEqual(other.numbers.toSorted(), [2, 3, 4]);
      await come(a.url, 5);
      assert.equal(client.recovered, false);
    } finally {
      client.disconnect();
      other?.disconnect();
      await Promise.all([a, b, foreign].map((one) => one?.stop()));
    }
  });
}
