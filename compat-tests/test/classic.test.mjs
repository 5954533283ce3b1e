// internal/classic against npm @socket.io/redis-adapter and @socket.io/redis-emitter: what each publishes, and makes of what
// the other published. Redis is only played: a client that records takes its place.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { createAdapter } from "@socket.io/redis-adapter";
import { Emitter } from "@socket.io/redis-emitter";
import { Server } from "socket.io";
import { carriedValues } from "./msgpack-cases.mjs";
import { buildProbe } from "./lib/probe.mjs";

const notepack = createRequire(import.meta.url)("notepack.io");
const probe = buildProbe("classicprobe");
const values = carriedValues(800);

const base64 = (data) => Buffer.from(data).toString("base64");
const bytes = (text) => Buffer.from(text ?? "", "base64");

/** Asks about messages of one node in one namespace, where the request says nothing else. */
const ask = (requests) => probe(requests.map((r) => ({ uid: "node-1", nsp: "/chat", ...r })));

/** A Redis client that records what is published, and says that there are two nodes. */
function recorder() {
  const frames = [];
  const nothing = () => {};
  const client = {
    publish: (channel, body) => frames.push({ channel, body: Buffer.from(body) }),
    sendCommand: async () => ["channel", "2"],
    listenerCount: () => 2,
    on: nothing, off: nothing, subscribe: nothing, pSubscribe: nothing, sSubscribe: nothing,
  };
  return { frames, client };
}

/** A Node node with the uid node-1 in /chat. */
function node() {
  const { frames, client } = recorder();
  const io = new Server({ adapter: createAdapter(client, client) });
  const nsp = io.of("/chat");
  nsp.adapter.uid = "node-1";
  return { frames, nsp, adapter: nsp.adapter };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

/** Which forms a call has: all operators in turn, so that each meets many values. */
const operators = [
  (to) => to,
  (to) => to.to("r1"),
  (to) => to.to(["r1", "r2", "r1"]),
  (to) => to.to("é 😀 #").except("x"),
  (to) => to.except(["x", "y", "x"]).volatile,
  (to) => to.in("r1").volatile.compress(false),
  (to) => to.compress(false),
];

function relayed(frames) {
  const answers = ask(frames.map(({ uid, channel, body }) => ({ uid, [channel.includes("-request") ? "request" : "broadcast"]: base64(body) })));
  frames.forEach(({ channel, body }, i) => {
    const { error, channel: ours, body: written } = answers[i];
    assert.deepEqual({ error, channel: ours, body: bytes(written).toString("latin1") }, { error: undefined, channel, body: body.toString("latin1") });
  });
}

test("what a Node node publishes is read, and written again byte by byte", async () => {
  const { frames, nsp } = node();
  values.forEach((v, i) => operators[i % operators.length](nsp).emit("event", v, i));
  carriedTexts().forEach((v) => nsp.serverSideEmit("event", v));
  for (const operator of operators) {
    operator(nsp).socketsJoin(["a", "b"]);
    operator(nsp).socketsLeave("a");
    operator(nsp).disconnectSockets();
    operator(nsp).disconnectSockets(true);
  }
  await settled();
  assert.equal(frames.length, values.length + carriedTexts().length + 4 * operators.length);
  relayed(frames.map((f) => ({ uid: "node-1", ...f })));
});

test("what an emitter of Node publishes is read, and written again byte by byte", () => {
  const { frames, client } = recorder();
  const emitter = new Emitter(client).of("chat");
  values.forEach((v, i) => operators[i % operators.length](emitter).emit("event", v, i));
  carriedTexts().forEach((v) => emitter.serverSideEmit("event", v));
  for (const operator of operators) {
    operator(emitter).socketsJoin(["a", "b"]);
    operator(emitter).socketsLeave("a");
    operator(emitter).disconnectSockets(true);
  }
  relayed(frames.map((f) => ({ uid: "emitter", ...f })));
});

/** Values without binary data, which is read as plain data from JSON and then written as such. */
function carriedTexts() {
  return values.filter((v) => v !== undefined).map((v) => JSON.parse(JSON.stringify(v)));
}

/** Questions of a Node node, with what it makes of the answers. */
const questions = {
  broadcast: (nsp) => new Promise((resolve) => nsp.timeout(2000).emit("q", 1, (error, responses) => resolve({ error, responses }))),
  fetch: (nsp) => nsp.in("r1").fetchSockets(),
  rooms: (nsp) => nsp.adapter.allRooms(),
  serverSide: (nsp) => new Promise((resolve) => nsp.serverSideEmit("q", (error, responses) => resolve({ error, responses }))),
};

async function asked(question) {
  const { frames, nsp, adapter } = node();
  const outcome = questions[question](nsp);
  await settled();
  assert.equal(frames.length, 1);
  return { request: frames[0].body, adapter, outcome };
}

/** adapter.Kind */
const kinds = { broadcast: 1, fetch: 5, serverSide: 6, rooms: 7, sockets: 8, reply: 9, listed: 10, count: 11, ack: 12, gone: 13 };

test("a Node node understands our answers to its questions", async () => {
  const binary = { text: base64('{"_placeholder":true,"num":0}'), attachments: [base64([1, 2, 3])] };
  const cases = [
    ["broadcast", [{ Kind: kinds.count, Count: 2 }, { Kind: kinds.ack, SocketID: "s", ...binary }, { Kind: kinds.gone, SocketIDs: ["t"] }, { Kind: kinds.ack, text: base64('{"a":[1]}') }],
      ({ error, responses }) => assert.deepEqual([error, responses], [null, [Buffer.from([1, 2, 3]), { a: [1] }]])],
    ["broadcast", [{ Kind: kinds.count, Count: 0 }], ({ error, responses }) => assert.deepEqual([error, responses], [null, []])],
    ["fetch", [{ Kind: kinds.sockets, Sockets: [{ id: "s", handshake: { url: "/" }, rooms: ["s", "r1"], data: { n: "<&>" } }] }],
      (sockets) => {
        assert.deepEqual(sockets.map((s) => ({ id: s.id, handshake: s.handshake, rooms: [...s.rooms], data: s.data })),
          [{ id: "s", handshake: { url: "/" }, rooms: ["s", "r1"], data: { n: "<&>" } }]);
      }],
    ["rooms", [{ Kind: kinds.listed, Rooms: ["a", "é"] }], (rooms) => assert.deepEqual([...rooms], ["a", "é"])],
    ["serverSide", [{ Kind: kinds.reply, text: base64('{"a":null}') }], ({ error, responses }) => assert.deepEqual([error, responses], [null, [{ a: null }]])],
    ["serverSide", [{ Kind: kinds.reply, ...binary }], ({ responses }) => assert.deepEqual(responses, [{ type: "Buffer", data: [1, 2, 3] }])],
    ["serverSide", [{ Kind: kinds.reply }], ({ responses }) => assert.deepEqual(responses, [undefined])],
  ];
  for (const [question, messages, check] of cases) {
    const { request, adapter, outcome } = await asked(question);
    const answers = ask(messages.map(({ text, attachments, ...message }) => ({ uid: "node-2", request: base64(request), message, text, attachments })));
    for (const { error, body } of answers) {
      assert.equal(error, undefined);
      if (body) adapter.onresponse(adapter.responseChannel, bytes(body));
    }
    check(await outcome);
  }
});

test("a broadcast that asks for acknowledgements is Node's but for its id and our mark", async () => {
  for (const operator of operators) {
    const { frames, nsp } = node();
    operator(nsp).timeout(1000).emit("q", { a: 1 }, () => {});
    const [{ channel, body }] = frames;
    const theirs = notepack.decode(body);
    const [ours] = ask([{ uid: "node-1", request: base64(body) }]);
    assert.deepEqual([ours.error, ours.channel], [undefined, channel]);
    const { sids, requestId, ...rest } = notepack.decode(bytes(ours.body));
    assert.equal(sids, true);
    assert.ok(requestId.startsWith("node-1"));
    delete theirs.requestId;
    assert.deepEqual(rest, theirs);
    assert.equal(JSON.stringify(rest), JSON.stringify(theirs)); // the order of keys too
  }
});

test("we understand the answers of a Node node to our questions", async () => {
  const { frames, nsp, adapter } = node();
  const values = [{ a: 1 }, Buffer.from([9]), undefined];
  const acks = new Map();
  nsp.sockets.set("s1", {
    id: "s1",
    handshake: { url: "/", headers: {} },
    rooms: new Set(["s1", 5]),
    data: { n: 1, b: Buffer.from([7]) },
    acks,
    client: { writeToEngine: () => {} },
    notifyOutgoingListeners: () => {},
  });
  adapter.addAll("s1", new Set(["s1", 5]));
  nsp.on("q", (value, reply) => reply({ got: value }));
  const event = base64('["q",1]');
  const kindsAsked = [kinds.fetch, kinds.rooms, kinds.serverSide, kinds.broadcast];
  const requests = ask(kindsAsked.map((Kind) => ({ uid: "node-2", message: { Kind, Request: "1" }, text: event })));
  for (const { channel, body, error } of requests) {
    assert.equal(error, undefined);
    await adapter.onrequest(channel, bytes(body));
  }
  for (const value of values) [...acks.values()][0](value);
  assert.ok(frames.every(({ channel }) => channel === adapter.responseChannel));
  const read = ask(frames.map(({ body }) => ({ uid: "node-2", answer: base64(body) })));
  assert.deepEqual(read.map(({ error, message }) => [error, message.Kind, message.Request]),
    [kinds.sockets, kinds.listed, kinds.reply, kinds.count, kinds.ack, kinds.ack, kinds.ack].map((kind) => [undefined, kind, "1"]));
  const [sockets, rooms, reply, count, ...acknowledged] = read;
  assert.deepEqual(sockets.message.Sockets, [{ id: "s1", handshake: { url: "/", headers: {} }, rooms: ["s1", "5"], data: { n: 1, b: { type: "Buffer", data: [7] } } }]);
  assert.deepEqual(rooms.message.Rooms, ["s1", "5"]);
  assert.deepEqual(JSON.parse(bytes(reply.text)), { got: 1 });
  assert.equal(count.message.Count, 1);
  assert.deepEqual(JSON.parse(bytes(acknowledged[0].text)), values[0]);
  assert.deepEqual(bytes(acknowledged[1].attachments[0]), values[1]);
  assert.equal(acknowledged[2].text, undefined);
});
