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
const kinds = { broadcast: 1, join: 2, leave: 3, disconnect: 4, fetch: 5, serverSide: 6, rooms: 7, sockets: 8, reply: 9, listed: 10, count: 11, ack: 12, gone: 13 };

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
  for (const [uid, numbers] of [["node-2", {}], ["0123456789abcdef", {}], ["0123456789abcdef", { After: 1, Directed: 2 ** 53 - 1 }]]) {
    for (const [question, messages, check] of cases) {
      const { request, adapter, outcome } = await asked(question);
      const answers = ask(messages.map(({ text, attachments, ...message }) => (
        { uid, request: base64(request), message: { ...message, ...numbers }, text, attachments })));
      for (const { error, body } of answers) {
        assert.equal(error, undefined);
        if (body) adapter.onresponse(adapter.responseChannel, bytes(body));
      }
      check(await outcome);
    }
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

/** A Node node with the socket s1, which tells effects what happens to it. */
function inhabited() {
  const { frames, nsp, adapter } = node();
  const effects = [];
  const acks = new Map();
  const happens = (what) => (...args) => effects.push([what, ...args]);
  nsp.sockets.set("s1", {
    id: "s1",
    handshake: { url: "/", headers: {} },
    rooms: new Set(["s1", 5]),
    data: { n: 1, b: Buffer.from([7]) },
    acks,
    client: { writeToEngine: happens("packet") },
    notifyOutgoingListeners: () => {},
    join: happens("join"), leave: happens("leave"), disconnect: happens("disconnect"),
  });
  adapter.addAll("s1", new Set(["s1", 5]));
  nsp.on("q", (value, reply) => {
    effects.push(["event", value]);
    reply?.({ got: value });
  });
  return { frames, nsp, adapter, acks, effects };
}

for (const uid of ["node-2", "0123456789abcdef"]) test(`we, called ${uid}, understand the answers of a Node node to our questions`, async () => {
  const { frames, adapter, acks } = inhabited();
  const values = [{ a: 1 }, Buffer.from([9]), undefined];
  const event = base64('["q",1]');
  const kindsAsked = [kinds.fetch, kinds.rooms, kinds.serverSide, kinds.broadcast];
  const requests = ask(kindsAsked.map((Kind) => ({ uid, message: { Kind, Request: "1", Seq: 7 }, text: event })));
  for (const { channel, body, error } of requests) {
    assert.equal(error, undefined);
    await adapter.onrequest(channel, bytes(body));
  }
  for (const value of values) [...acks.values()][0](value);
  assert.ok(frames.every(({ channel }) => channel === adapter.responseChannel));
  const read = ask(frames.map(({ body }) => ({ uid, answer: base64(body) })));
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

test("a Node node does not mind the numbers of our messages", async () => {
  const messages = [
    { Kind: kinds.broadcast }, { Kind: kinds.broadcast, Selection: { Rooms: ["s1"] }, Flags: { Volatile: true, NoCompress: true } },
    { Kind: kinds.broadcast, Selection: { Rooms: ["a", "5"], Except: ["c"] } }, { Kind: kinds.broadcast, Request: "1" },
    { Kind: kinds.join, Rooms: ["a"] }, { Kind: kinds.leave, Rooms: ["a"] }, { Kind: kinds.disconnect, Close: true },
    { Kind: kinds.fetch, Request: "1" }, { Kind: kinds.rooms, Request: "1" }, { Kind: kinds.serverSide }, { Kind: kinds.serverSide, Request: "1" },
  ];
  /** What a Node node does when it hears the messages: to its socket, and what it answers. */
  const outcome = async (numbers) => {
    const { frames, adapter, acks, effects } = inhabited();
    const written = ask(messages.map((message) => ({ uid: "0123456789abcdef", message: { ...message, ...numbers }, text: base64('["q",1]') })));
    for (const { error, channel, body } of written) {
      assert.equal(error, undefined);
      if (channel.startsWith("socket.io#")) adapter.onmessage(null, channel, bytes(body));
      else await adapter.onrequest(channel, bytes(body));
    }
    acks.forEach((ack) => ack("ack"));
    await settled();
    return { written: written.map(({ body }) => body), effects, answers: frames.map(({ channel, body }) => [channel, body.toString("latin1")]) };
  };
  const plain = await outcome({});
  assert.deepEqual([plain.effects.length, plain.answers.length], [8, 5]);
  for (const numbers of [{ Seq: 7 }, { After: 1, Directed: 2 }, { Seq: 2 ** 53 - 1, After: 2 ** 40, Directed: 65536 }]) {
    const { written, effects, answers } = await outcome(numbers);
    assert.ok(written.every((body, i) => body !== plain.written[i]));
    assert.deepEqual({ effects, answers }, { effects: plain.effects, answers: plain.answers });
  }
});
