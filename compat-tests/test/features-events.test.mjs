// Events and acknowledgements: what arrives, in which order, as which JavaScript value.
import { after } from "node:test";
import { stopShared } from "./lib/servers.mjs";
import { scenario } from "./lib/scenario.mjs";

after(stopShared);

const values = {
  "nothing": [],
  "numbers": [0, -0, 1, -1, 1.5, 1e21, 1e-7, 123456789012345680, 9007199254740991, Number.MAX_VALUE, Number.MIN_VALUE],
  "not numbers": [NaN, Infinity, -Infinity],
  "null and undefined": [null, undefined, [undefined, null], { a: undefined, b: null }],
  "booleans": [true, false],
  "strings": ["", "a", "\u00e9\u20ac\u{1f600}", "\u2028\u2029", "\0\u0001\x7f", "<script>&amp;</script>", '"\\/', "\ud83d", "x".repeat(5000)],
  "dates": [new Date(0), new Date(1700000000123), { at: new Date(1e12) }],
  "objects": [{}, [], { b: 1, a: 2, 10: "x", 2: "y" }, { "": { "": [] } }, [[[[1]]]], { __placeholder: 1, toString: "x" }],
  "a toJSON": [{ toJSON: () => ({ replaced: true }) }],
  "binary": [Buffer.from([1, 2, 3]), new Uint8Array([4, 5]), new ArrayBuffer(3), Buffer.alloc(0)],
  "views": [new Uint16Array([258]), new Uint8Array([9, 8, 7, 6]).subarray(1, 3)],
  "nested binary": [{ a: { b: [Buffer.from([1]), { c: Buffer.from([2]) }], d: "text" } }, [Buffer.from([3])]],
  "ten buffers": Array.from({ length: 10 }, (_, i) => Buffer.from([i])),
  "a large buffer": [Buffer.alloc(100000, 7)],
  "placeholder-like data": [{ _placeholder: true, num: 0 }, "x"],
};

for (const [name, args] of Object.entries(values)) {
  scenario(`values both ways: ${name}`, async (run) => {
    await run.create();
    const a = await run.connect("a");
    a.emit("echo", ...args);
    const acked = await new Promise((resolve) => a.emit("ack", ...args, (...reply) => resolve(reply)));
    await run.settle();
    return run.transcript({ acked });
  });
}

scenario("values the server makes", async (run) => {
  await run.create();
  await run.connect("a");
  await run.command("emit", { event: "made", args: [{ $date: 0 }, { $date: 1700000000120 }, { $bin: "00ff" }, [{ $bin: "01" }], { x: { $bin: "" } }, 1e21, 1.5e-9, "\u2028<&>", null, { "\u00e9": [] }] });
  await run.settle();
});

scenario("numbers as names of events", async (run) => {
  await run.create();
  const a = await run.connect("a");
  for (const packet of [[1, "x"], [1.5], [-3]]) a.socket.emit(...packet);
  await run.settle();
});

for (const event of ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]) {
  scenario(`the server refuses to emit ${event}`, { only: ["websocket"] }, async (run) => {
    await run.create();
    const a = await run.connect("a");
    const results = [];
    for (const target of [{}, { to: ["r"] }, { socket: a.id }]) {
      results.push(Boolean((await run.attempt("emit", { ...target, event, args: [] })).error));
    }
    await run.settle();
    return run.transcript({ refused: results });
  });
}

scenario("names that are not reserved", { only: ["websocket"] }, async (run) => {
  await run.create();
  const a = await run.connect("a");
  for (const event of ["connection", "error", "message", "ping", "", "__proto__", "constructor", "hasOwnProperty", "\u20ac"]) {
    if (event !== "error") a.emit(event, 1);
    await run.command("emit", { event, args: [2] });
  }
  await run.settle();
});

// A client that takes as fast as its transport allows is not cut, however much is sent at once.
for (const { n, size, only } of [
  { n: 2000, size: 20_000, only: ["polling", "websocket"] },
  { n: 2, size: 20_000_000, only: ["polling", "websocket"] },
  { n: 50_000, size: 100, only: ["polling", "websocket"] },
]) {
  scenario(`${n} events of ${size} bytes at once to a client that reads`, { only, timeout: 240_000 }, async (run) => {
    await run.create();
    const a = await run.connect("a");
    const out = { inOrder: 0, bytes: 0 };
    const all = new Promise((resolve, reject) => {
      a.socket.on("disconnect", (reason) => reject(new Error(`${reason} after ${out.inOrder} events`)));
      a.socket.on("mark", (i, text) => {
        if (i === out.inOrder) out.inOrder++;
        out.bytes += text.length;
        if (i === n - 1) resolve();
      });
    });
    a.emit("flood", n, size);
    await all;
    a.socket.off("disconnect");
    return out;
  });
}

scenario("a burst of text and binary stays in order, both ways, through the upgrade", async (run) => {
  await run.create();
  const a = run.client("a");
  await a.connected();
  a.emit("burst", 40);
  for (let i = 0; i < 40; i++) a.emit("item", i, i % 4 === 0 ? Buffer.from([i]) : { i });
  await run.settle();
  await a.upgraded();
  for (let i = 40; i < 60; i++) a.emit("echo", i, Buffer.from([i]));
  await run.settle();
});

scenario("messages of the server during the upgrade stay in order", async (run) => {
  await run.create();
  const a = run.client("a");
  await a.connected();
  for (let i = 0; i < 60; i++) await run.command("emit", { event: "n", args: i % 5 ? [i] : [i, { $bin: "aa" }] });
  await a.upgraded();
  await run.command("emit", { event: "n", args: ["last"] });
  await run.settle();
});

scenario("events emitted before the client is connected are sent afterwards", async (run) => {
  await run.create();
  const a = run.client("a");
  a.emit("echo", "early").emit("echo", "early too", Buffer.from([1]));
  await a.connected();
  await run.settle();
});

scenario("a large event both ways", async (run) => {
  await run.create();
  const a = await run.connect("a");
  const text = "0123456789".repeat(20000);
  const reply = await a.ask("ack", text);
  return { length: reply.length, equal: reply === text };
});

scenario("catch-all listeners, in and out", async (run) => {
  await run.create({ outgoing: true });
  const [a, b] = await run.connectAll("a", "b");
  a.emit("echo", 1, Buffer.from([2]));
  await run.settle();
  await run.command("emit", { socket: a.id, event: "direct", args: ["x"] });
  await run.command("emit", { event: "to everybody", args: ["y", { $bin: "03" }] });
  a.emit("to-room", b.id, "hi");
  await run.settle();
  // The barrier's acks are no events and do not show up here.
});

scenario("packet middlewares: block and delay", async (run) => {
  await run.create({ packetUse: ["block:forbidden", "async"] });
  const a = await run.connect("a");
  a.emit("echo", 1).emit("forbidden", 2).emit("echo", 3);
  await run.settle();
});

scenario("acks: client asks", async (run) => {
  await run.create();
  const a = await run.connect("a");
  const call = (...args) => new Promise((resolve) => a.emit(...args, (...reply) => resolve(reply)));
  return {
    several: await call("ack", 1, "two", { three: [3] }),
    none: await call("ack"),
    binary: await call("ack", Buffer.from([1]), { b: Buffer.from([2]) }),
    late: await call("late-ack", "x"),
    twice: await call("ack-twice"),
    unknown: await a.socket.timeout(100).emitWithAck("nobody", 1).catch((err) => err.message),
    order: await Promise.all([call("late-ack", "first"), call("ack", "second")]),
  };
});

scenario("acks: server asks", async (run) => {
  await run.create();
  const a = await run.connect("a");
  a.answer("question", (...args) => [args, "ignored"]).answer("empty", () => []).answer("data", () => [{ b: Buffer.from([9]) }]);
  return {
    args: await run.command("emitAck", { socket: a.id, event: "question", args: [1, { $bin: "02" }] }),
    empty: await run.command("emitAck", { socket: a.id, event: "empty", timeout: 3000 }),
    binary: await run.command("emitAck", { socket: a.id, event: "data", timeout: 3000 }),
    timeout: Boolean((await run.attempt("emitAck", { socket: a.id, event: "nobody answers", timeout: 100 })).error),
    events: a.events,
  };
});

scenario("acks: a handler asks its own client before it answers", async (run) => {
  await run.create();
  const a = await run.connect("a");
  a.answer("question", (q) => `${q}!`);
  return { reply: await a.ask("ask", "really?") };
});

scenario("acks: an answer after the time limit is ignored", async (run) => {
  await run.create();
  const a = await run.connect("a");
  a.socket.on("slow", (reply) => setTimeout(reply, 200, "late"));
  const first = await run.attempt("emitAck", { socket: a.id, event: "slow", timeout: 60 });
  await new Promise((resolve) => setTimeout(resolve, 250));
  a.emit("echo", "alive");
  await run.settle();
  return run.transcript({ failed: Boolean(first.error) });
});

scenario("acks: a broadcast collects every answer", async (run) => {
  await run.create();
  const clients = await run.connectAll("a", "b", "c");
  clients.forEach((c, i) => c.answer("question", (q) => [q + i, "ignored"]));
  const sorted = (r) => ({ ...r, values: r.values?.sort() });
  return {
    all: sorted(await run.command("broadcastAck", { event: "question", args: ["x"], timeout: 3000 })),
    but: sorted(await run.command("broadcastAck", { socket: clients[0].id, broadcast: true, event: "question", args: ["y"], timeout: 3000 })),
    one: sorted(await run.command("broadcastAck", { to: [clients[1].id], event: "question", args: ["z"], timeout: 3000 })),
    nobody: await run.command("broadcastAck", { to: ["nowhere"], event: "question", args: [], timeout: 500 }),
  };
});

scenario("acks: a broadcast with answers missing", async (run) => {
  await run.create();
  const [a, b, c] = await run.connectAll("a", "b", "c");
  a.answer("question", () => ["from a"]);
  b.answer("question", () => [Buffer.from([1, 2])]);
  c.answer("other", () => []);
  const result = await run.command("broadcastAck", { event: "question", args: [], timeout: 300 });
  result.values.sort((x, y) => (JSON.stringify(x) < JSON.stringify(y) ? -1 : 1));
  return { result };
});

scenario("acks: a client without arguments answers a broadcast", async (run) => {
  await run.create();
  const a = await run.connect("a");
  a.answer("question", () => []);
  return { result: await run.command("broadcastAck", { event: "question", timeout: 2000 }) };
});
