// internal/envelope against the sharded and the streams adapter of npm: what Node writes is read, and written again byte by
// byte; what only Sockeye writes is ignored by Node.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { Server } from "socket.io";
import { buildProbe } from "./lib/probe.mjs";

const msgpack = createRequire(import.meta.url)("@msgpack/msgpack");

const ask = buildProbe("envelopeprobe");

/** A client of the redis package, version 4, that keeps what is published and never hears anything by itself. */
class FakeRedis {
  published = [];
  listeners = new Map();
  duplicate() { return this; }
  on() {}
  async connect() {}
  disconnect() {}
  sSubscribe(channel, listener) { this.listeners.set(channel, listener); }
  sUnsubscribe(channel) { this.listeners.delete(channel); }
  subscribe(channels, listener) { channels.forEach((channel) => this.listeners.set(channel, listener)); }
  async sPublish(channel, body) { this.published.push({ channel, body: Buffer.from(body) }); }
  async publish(channel, body) { this.published.push({ channel, body: Buffer.from(body) }); }
  async xAdd(stream, id, fields, options) { this.published.push({ stream, fields, options }); return "1-0"; }
  xRead() { return new Promise(() => {}); }
  stored = new Map();
  async set(key, value, options) { this.stored.set(key, { value, options }); }
  multi() {
    const results = [];
    const chain = {
      get: (key) => (results.push(this.stored.get(key)?.value ?? null), chain),
      del: (key) => (results.push(Number(this.stored.delete(key))), chain),
      exec: async () => results,
    };
    return chain;
  }
  async xRange(stream, from, to) { return from === to ? [{ id: from, message: {} }] : []; }
  async sendCommand([, , channel]) { return [channel, "2"]; }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

async function startNode(createAdapter, options, serverOptions) {
  const redis = new FakeRedis();
  const io = new Server({ serveClient: false, ...serverOptions });
  io.adapter(createAdapter === createShardedAdapter ? createAdapter(redis, redis, options) : createAdapter(redis, options));
  const nsp = io.of("/chat");
  await settled();
  return { redis, io, nsp, adapter: nsp.adapter, end: () => nsp.adapter.close() };
}

const values = ["text", "snow \u2603 \u{1f600} <&> \u2028", 0, -1, 1.5, 2 ** 31, 2 ** 53 - 1, -(2 ** 40), 1e21, null, true, [], {}, { z: 1, a: [{ b: null }] },
  new Date(1700000000123), [undefined], { gone: undefined }, "\u0000\u001f\"\\", { 2: "x", 1: "y" }];
const binaries = [Buffer.from([1, 2, 3]), new Uint8Array(300), { deep: [{ b: Buffer.from("x") }, "y"], n: 1 }];

/** Makes a node write every type of message, with every kind of value. */
async function writeEverything({ nsp, adapter }) {
  nsp.emit("hello");
  for (const v of [...values, ...binaries]) nsp.emit("event", v, "last");
  nsp.to("room").emit("one");
  nsp.to(["a", "b"]).except(["c", "d"]).emit("several");
  nsp.volatile.emit("v");
  nsp.compress(false).emit("c");
  nsp.volatile.compress(false).emit("vc", Buffer.from("vc"));
  nsp.timeout(20).emit("with ack", () => {});
  nsp.to("room").timeout(20).emit("with ack", Buffer.from("x"), () => {});
  nsp.socketsJoin(["a", "b"]);
  nsp.in("a").except("x").socketsLeave("b");
  nsp.disconnectSockets();
  nsp.in("a").disconnectSockets(true);
  nsp.in("a").timeout(20).fetchSockets().catch(() => {});
  nsp.serverSideEmit("side", 1, "two");
  nsp.serverSideEmit("side", ...binaries);
  adapter.serverSideEmit(["side", "ack", () => {}]);
  const requestId = "0123456789abcdef";
  const handshake = { headers: { host: "x" }, time: "Tue", address: "::1", xdomain: false, issued: 1700000000123, url: "/?EIO=4", query: { EIO: "4" }, auth: {} };
  const socket = { id: "A".repeat(20), handshake, rooms: ["A".repeat(20), "a"], data: { user: "alice", n: [1, null] } };
  const respond = (type, data) => adapter.publishResponse("fedcba9876543210", { type, data: { requestId, ...data } });
  respond(8, { sockets: [] });
  respond(8, { sockets: [socket, { ...socket, id: "B".repeat(20), data: {} }] });
  respond(11, { clientCount: 0 });
  respond(11, { clientCount: 12 });
  for (const v of [...values, ...binaries, undefined]) {
    respond(10, { packet: v });
    respond(12, { packet: v });
  }
  await new Promise((resolve) => setTimeout(resolve, 40)); // acknowledgements and answers time out
  await settled();
}

test("sharded: messages of Node are read and written again byte by byte", async () => {
  const node = await startNode(createShardedAdapter);
  await writeEverything(node);
  const { published } = node.redis;
  assert.ok(published.length > 80);
  assert.ok(published.some(({ body }) => body[0] === 0x7b) && published.some(({ body }) => body[0] !== 0x7b));
  const answers = ask(published.map(({ body }) => ({ uid: node.adapter.uid, nsp: "/chat", frame: body.toString("base64") })));
  published.forEach(({ body }, i) => {
    assert.equal(answers[i].error, undefined, body.toString("latin1"));
    const ours = Buffer.from(answers[i].sharded, "base64");
    assert.equal(ours.toString("latin1"), body.toString("latin1"));
  });
  node.end();
});

for (const onlyPlaintext of [false, true]) {
  test(`streams: messages of Node are read and written again byte by byte${onlyPlaintext ? ", plain text only" : ""}`, async () => {
    const node = await startNode(createStreamsAdapter, { onlyPlaintext });
    await writeEverything(node);
    const { published } = node.redis;
    const entries = published.filter(({ stream }) => stream === "socket.io");
    const bodies = published.filter(({ channel }) => channel !== undefined);
    assert.ok(entries.length > 25 && bodies.length > 50);
    const requests = entries.map(({ fields }) => ({ Type: fields.type, UID: fields.uid, Namespace: fields.nsp, Data: fields.data }));
    ask(requests.map((entry) => ({ uid: node.adapter.uid, nsp: "/chat", entry }))).forEach((answer, i) => {
      assert.equal(answer.error, undefined, JSON.stringify(requests[i]));
      assert.deepEqual(onlyPlaintext ? answer.plaintext : answer.entry, requests[i]);
    });
    assert.deepEqual(Object.keys(entries[0].fields), ["uid", "nsp", "type", "data"]);
    const answers = ask(bodies.map(({ body }) => ({ uid: node.adapter.uid, nsp: "/chat", frame: body.toString("base64") })));
    bodies.forEach(({ body }, i) => {
      assert.equal(answers[i].error, undefined, body.toString("latin1"));
      const [ours, theirs] = [Buffer.from(answers[i].packed, "base64"), body];
      if (ours.equals(theirs)) return;
      // Node writes undefined and dates in a form that JSON cannot tell: then the messages are the same as JSON has them.
      assert.equal(JSON.stringify(msgpack.decode(ours)), JSON.stringify(msgpack.decode(theirs)));
    });
    node.end();
  });
}

test("rooms that nobody is in, other namespaces and heartbeats are ignored", async () => {
  for (const [createAdapter, kind] of [[createShardedAdapter, "sharded"], [createStreamsAdapter, "streams"]]) {
    const node = await startNode(createAdapter);
    const { nsp, adapter, redis } = node;
    for (const args of [["text"], [Buffer.from("binary")]]) {
      nsp.to(["a", "b"]).emit("event", ...args);
      nsp.emit("event", ...args);
    }
    nsp.in("a").socketsJoin("x");
    nsp.in("a").disconnectSockets();
    for (const type of [1, 2, 13]) adapter.publish({ type });
    await settled();
    const requests = redis.published.map(({ body, fields }) => (body ? { frame: body.toString("base64") } : {
      entry: { Type: fields.type, UID: fields.uid, Namespace: fields.nsp, Data: fields.data },
    }));
    const outcome = (extra) => ask(requests.map((r) => ({ uid: "x", nsp: "/chat", ...r, ...extra }))).map(({ sharded, error }) => error ?? sharded !== undefined);
    assert.deepEqual(outcome({}), [true, true, true, true, true, true, false, false, false], kind);
    assert.deepEqual(outcome({ rooms: ["b"] }), [true, true, true, true, false, false, false, false, false], kind);
    assert.deepEqual(outcome({ rooms: [] }), [false, true, false, true, false, false, false, false, false], kind);
    assert.deepEqual(outcome({ nsp: "/" }), Array(9).fill(false), kind);
    node.end();
  }
});

test("sessions are stored as Node stores them, and Node finds them", async () => {
  const node = await startNode(createStreamsAdapter, {}, { connectionStateRecovery: { maxDisconnectionDuration: 120000 } });
  const { adapter, redis } = node;
  const [sid, pid] = ["S".repeat(20), "P".repeat(20)];
  const unpack = (record) => msgpack.decode(Buffer.from(record, "base64"));
  for (const data of [...values, ...binaries]) {
    const rooms = [sid, "room", "\u2603"];
    adapter.persistSession({ sid, pid, rooms, data });
    const { value: theirs, options } = redis.stored.get(`sio:session:${pid}`);
    assert.deepEqual(options, { PX: 120000 });
    const [{ session: ours, error }] = ask([{ session: theirs }]);
    assert.equal(error, undefined);
    // Node writes dates in a form that JSON cannot tell.
    assert.equal(JSON.stringify(unpack(ours)), JSON.stringify(unpack(theirs)));
    if (!(data instanceof Date)) assert.equal(ours, theirs);
    redis.stored.set(`sio:session:${pid}`, { value: ours });
    const restored = await adapter.restoreSession(pid, "1-0");
    assert.equal(JSON.stringify(restored), JSON.stringify({ ...unpack(theirs), missedPackets: [] }));
  }
  node.end();
});

// Kinds of adapter.Message.
const [FETCH, LISTROOMS, ROOMS, ACK, GONE] = [5, 7, 10, 12, 13];

test("what only Sockeye says does not disturb Node", async () => {
  for (const [createAdapter, form] of [[createShardedAdapter, "sharded"], [createStreamsAdapter, "packed"]]) {
    const node = await startNode(createAdapter);
    const { adapter, redis } = node;
    const frames = ask([
      { Kind: LISTROOMS, Request: "0123456789abcdef" },
      { Kind: FETCH, Request: "1123456789abcdef" },
      { Kind: ROOMS, Request: "request r", Rooms: ["a", "b"] },
      { Kind: ACK, Request: "acks", Payload: { value: 1 }, SocketID: "A".repeat(20) },
      { Kind: GONE, Request: "acks", SocketIDs: ["A".repeat(20)] },
    ].map((message) => ({ uid: "fedcba9876543210", nsp: "/chat", message }))).map((answer) => Buffer.from(answer[form], "base64"));
    const acks = [];
    adapter.ackRequests.set("acks", { ack: (v) => acks.push(v), clientCountCallback: () => assert.fail("no count was sent") });
    let sockets;
    adapter.requests.set("request r", { current: 0, expected: 1, responses: [], resolve: (v) => { sockets = v; } });
    const decode = (body) => (body[0] === 0x7b ? JSON.parse(body) : msgpack.decode(body));
    const own = `socket.io#/chat#${adapter.uid}#`;
    for (const [i, frame] of frames.entries()) redis.listeners.get(i < 2 ? "socket.io#/chat#" : own)(frame, i < 2 ? "socket.io#/chat#" : own);
    await settled();
    assert.deepEqual(redis.published.map(({ channel, body }) => [channel, decode(body)]), ["0123456789abcdefr", "1123456789abcdef"].map((requestId) => [
      "socket.io#/chat#fedcba9876543210#", { type: 8, data: { requestId, sockets: [] }, uid: adapter.uid, nsp: "/chat" },
    ]));
    assert.deepEqual([acks, sockets], [[{ value: 1 }], []]);
    node.end();
  }
});

test("Node does not mind the numbers of our messages", async () => {
  const [BROADCAST, JOIN, LEAVE, DISCONNECT, , SERVERSIDE] = [1, 2, 3, 4, 5, 6];
  const [SOCKETS, REPLY, COUNT] = [8, 9, 11];
  const messages = [
    { Kind: BROADCAST, Packet: ["event", 1] }, { Kind: BROADCAST, Packet: ["event", 1], Selection: { Rooms: ["a", "s1"], Except: ["x"] } },
    { Kind: BROADCAST, Packet: ["q"], Request: "0123456789abcdef" }, { Kind: JOIN, Rooms: ["a"] }, { Kind: LEAVE, Rooms: ["a"] }, { Kind: DISCONNECT, Close: true },
    { Kind: FETCH, Request: "1123456789abcdef" }, { Kind: LISTROOMS, Request: "2123456789abcdef" },
    { Kind: SERVERSIDE, Payload: ["side", 1] }, { Kind: SERVERSIDE, Payload: ["side", 1], Request: "3123456789abcdef" },
    { Kind: COUNT, Request: "acks", Count: 1 }, { Kind: ACK, Request: "acks", Payload: "yes", SocketID: "s" }, { Kind: GONE, Request: "acks", SocketIDs: ["s"] },
    { Kind: SOCKETS, Request: "fetch", Sockets: [{ id: "s", handshake: {}, rooms: ["s"], data: {} }] }, { Kind: REPLY, Request: "side", Payload: { a: 1 } },
  ];
  const opts = { rooms: [], except: [], flags: {} };
  const packed = msgpack.encode({ type: 3, data: { packet: { type: 2, data: ["b", Buffer.from([1])] }, opts }, uid: "x", nsp: "/chat" });
  const binary = Buffer.from(packed).toString("base64");
  /** What a Node node does when it hears the messages. */
  const outcome = async (createAdapter, form, numbers) => {
    const node = await startNode(createAdapter);
    const { adapter, nsp, redis } = node;
    const effects = [];
    const acks = new Map();
    const happens = (what) => (...args) => effects.push([what, ...args]);
    nsp.sockets.set("s1", {
      id: "s1", handshake: { url: "/" }, rooms: new Set(["s1"]), data: {}, acks, client: { writeToEngine: happens("packet") },
      notifyOutgoingListeners: () => {}, join: happens("join"), leave: happens("leave"), disconnect: happens("disconnect"),
    });
    adapter.addAll("s1", new Set(["s1"]));
    nsp.on("side", (value, reply) => {
      effects.push(["event", value]);
      reply?.("reply");
    });
    adapter.ackRequests.set("acks", { ack: happens("ack"), clientCountCallback: happens("count") });
    for (const id of ["fetch", "side"]) adapter.requests.set(id, { current: 0, expected: 1, responses: [], resolve: happens(id) });
    const written = ask([...messages.map((message) => ({ message: { ...message, ...numbers } })), { frame: binary, message: numbers }]
      .map((request) => ({ uid: "fedcba9876543210", nsp: "/chat", ...request })));
    for (const answer of written) {
      assert.equal(answer.error, undefined);
      if (form === "entry") {
        const { UID: uid, Namespace: nsp, Type: type, Data: data } = answer.entry;
        adapter.onRawMessage({ uid, nsp, type, data }, "1-0");
      } else {
        redis.listeners.get("socket.io#/chat#")(Buffer.from(answer[form], "base64"), "socket.io#/chat#");
      }
    }
    acks.forEach((ack) => ack("ack"));
    await settled();
    node.end();
    const own = redis.published.map(({ channel, body }) => {
      const { uid, ...answer } = body[0] === 0x7b ? JSON.parse(body) : msgpack.decode(body);
      assert.equal(uid, adapter.uid);
      return [channel, answer];
    });
    return { written: written.map((answer) => JSON.stringify(answer[form])), effects, own };
  };
  for (const [createAdapter, form] of [[createShardedAdapter, "sharded"], [createStreamsAdapter, "packed"], [createStreamsAdapter, "entry"]]) {
    const plain = await outcome(createAdapter, form, {});
    assert.deepEqual([plain.effects.length, plain.own.length], [13, 5], form);
    for (const numbers of [{ Seq: 7 }, { After: 1, Directed: 2 }, { Seq: 2 ** 53 - 1, After: 2 ** 40, Directed: 65536 }]) {
      const { written, effects, own } = await outcome(createAdapter, form, numbers);
      assert.ok(written.every((text, i) => text !== plain.written[i]));
      assert.deepEqual({ effects, own }, { effects: plain.effects, own: plain.own }, form);
    }
  }
});
