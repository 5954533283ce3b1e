// Stock clients of Python and Java: what they send and get at both servers must be the same, and they come back after a restart,
// which the reference cannot show: Python's stays away when it polls, Java's waits for its ping timeout. Part of `make compat`.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ForeignClient, pairs, provideClients } from "./lib/clients.mjs";
import { selfCheck, start, stopShared } from "./lib/servers.mjs";
import { differential } from "./lib/transcript.mjs";

before(provideClients, { timeout: 600_000 });
after(stopShared);

const conformance = ["--app", "conformance"];
const bytes = { base64: Buffer.from([0, 1, 254, 255]).toString("base64") };

// Lists of arguments.
const values = [
  [], ["text"], ["é \u2028 😀 \0"], ["a", 1, true], [0, -1, 2147483648, 9007199254740991], [0.5, -1e-7, 1e100],
  [{ a: [1, { b: "c" }], "": [] }], [[]], [[[1], "x"]], [bytes], [bytes, "between", bytes], ["x".repeat(20_000)],
];

for (const pair of pairs) {
  differential(`${pair.name}, ${pair.transport}: events and acknowledgements`, { args: conformance, timeout: 120_000 }, async ({ server }) => {
    const client = new ForeignClient(pair, server.url);
    try {
      await client.wait("auth");
      for (const [i, list] of values.entries()) {
        client.send("emit", "message", ...list);
        await client.wait("message-back", i + 1);
        client.send("call", "message-with-ack", ...list);
        await client.wait("answer", i + 1);
      }
      const events = structuredClone(client.events);
      await client.leave();
      return events;
    } finally {
      client.kill();
    }
  });
}

test("a burst over polling, with --max-poll-packets", { timeout: 120_000, skip: selfCheck }, async () => {
  const server = await start("sockeye", "serve", [...conformance, "--max-poll-packets", "16"]);
  const clients = pairs.filter(({ transport }) => transport === "polling").map((pair) => new ForeignClient(pair, server.url));
  const times = 300;
  try {
    await Promise.all(clients.map((client) => client.wait("auth")));
    for (const client of clients) for (let i = 0; i < times; i++) client.send("emit", "message", i);
    for (const client of clients) {
      await client.wait("message-back", times);
      const back = client.events.filter(([name]) => name === "message-back").map(([, i]) => i);
      back.sort((a, b) => a - b); // Python's synchronous client handles each event on a thread of its own
      assert.deepEqual(back, [...Array(times).keys()], client.name);
      assert.ok(!client.events.some(([name]) => name === "disconnect"), `${client.name} lost its connection`);
    }
  } finally {
    for (const client of clients) client.kill();
    await server.stop();
  }
});

const longest = 10_000; // ms to come back; Java's ping timeout is beyond 20 s, and none of them retries later than every 200 ms

test("a restart", { timeout: 180_000, skip: selfCheck }, async (t) => {
  let server = await start("sockeye", "serve", conformance);
  const clients = pairs.map((pair) => new ForeignClient(pair, server.url));
  try {
    await Promise.all(clients.map((client) => client.wait("auth")));
    const { port } = server.addr;
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
    await Promise.all(clients.map((client) => client.wait("disconnect", 1, longest)));
    server = await start("sockeye", "serve", [...conformance, "--addr", `127.0.0.1:${port}`]);
    const since = performance.now();
    for (const client of clients) {
      const at = client.times[await client.wait("connect", 2, longest)];
      const [, reason] = client.events[await client.wait("disconnect")];
      t.diagnostic(`${client.name}: ${reason}, back after ${Math.round(at - since)} ms`);
      assert.match(reason, /^transport (close|error)$/, client.name);
      client.send("call", "message-with-ack", "again");
      await client.wait("answer");
    }
  } finally {
    for (const client of clients) client.kill();
    await server.stop();
  }
});
