// Raw WebSocket frames and handshakes, good and bad, at the npm engine.io server (which uses npm ws) and at the Go
// server: both must show the same frames and the same end of the connection.
import assert from "node:assert/strict";
import http from "node:http";
import { after, before, describe, it } from "node:test";
import { Server as EngineServer } from "engine.io";
import { CLOSE, PING, PONG, RawWebSocket, TEXT, frame, recordFrame, upgradeRequest } from "./lib/rawws.mjs";
import { selfCheck, start } from "./lib/servers.mjs";
import { assertSame, sleep } from "./lib/transcript.mjs";
import { closing } from "./ws-frames-closing.mjs";
import { deflated } from "./ws-frames-deflate.mjs";
import { engine } from "./ws-frames-engine.mjs";
import { framing } from "./ws-frames-framing.mjs";
import { handshakes, knownDifferences } from "./ws-frames-handshake.mjs";
import { text } from "./ws-frames-text.mjs";

// The same settings on both sides. Context takeover is off by default in the Go server; the reference is told so.
const noTakeover = { serverNoContextTakeover: true, clientNoContextTakeover: true };
const settings = {
  plain: { args: [], options: {} },
  small: { args: ["--max-http-buffer-size", "1000"], options: { maxHttpBufferSize: 1000 } },
  deflate: { args: ["--per-message-deflate"], options: { perMessageDeflate: noTakeover } },
  "small deflate": {
    args: ["--per-message-deflate", "--max-http-buffer-size", "1000"],
    options: { perMessageDeflate: noTakeover, maxHttpBufferSize: 1000 },
  },
};
const PARALLEL = 20;
const servers = {};

before(async () => {
  for (const [name, { args, options }] of Object.entries(settings)) {
    servers[name] = { reference: await startReference(options) };
    servers[name].subject = selfCheck ? await startReference(options) : await start("sockeye", "serve", ["--app", "engine", "--addr", "127.0.0.1:0", ...args]);
  }
});

after(async () => {
  for (const { reference, subject } of Object.values(servers)) await Promise.all([reference?.stop(), subject?.stop()]);
});

/** The npm server as an echo server. */
async function startReference(options) {
  const web = http.createServer();
  const engineServer = new EngineServer(options);
  engineServer.attach(web, { path: "/engine.io" });
  engineServer.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
  await new Promise((resolve) => web.listen(0, "127.0.0.1", resolve));
  return {
    addr: { host: "127.0.0.1", port: web.address().port },
    stop() {
      engineServer.close();
      web.close();
      web.closeAllConnections();
    },
  };
}

const TOO_BIG = 1009;
const MARK = "4end of case";

const finishers = {
  /** A message that comes back proves that the connection is well and everything before has been handled. */
  async echo(ws) {
    await ws.until("echo of the mark", () => ws.frames.some((f) => f.opcode === TEXT && f.data.toString() === MARK));
  },
  /** The same where a message is still open. */
  async ping(ws) {
    await ws.until("pong for the mark", () => ws.frames.some((f) => f.opcode === PONG && f.data.toString() === MARK));
  },
  /** The server closes by its own will: it waits for the answer to its close frame before it ends the connection. */
  async answer(ws) {
    await ws.until("close frame", () => ws.frames.some((f) => f.opcode === CLOSE));
    await sleep(50);
    const waited = ws.ended === null;
    await ws.write([frame(CLOSE)]);
    await ws.until("end of the connection", () => false);
    return { waited };
  },
  async end(ws) {
    await ws.until("end of the connection", () => false);
  },
};
const marks = { echo: frame(TEXT, MARK), ping: frame(PING, MARK), answer: frame(TEXT, MARK), end: Buffer.alloc(0) };

/** Runs one case at one server and returns its transcript. */
async function run(addr, { send, finish = "echo", halfClose = false, offer, open = 1 }) {
  const ws = new RawWebSocket(addr, upgradeRequest({ headers: offer === undefined ? {} : { "Sec-WebSocket-Extensions": offer } }));
  try {
    await ws.until("open packet", () => ws.frames.length >= open);
    const opened = ws.frames.splice(0, open).map((f) => f.data.toString().slice(0, 7));
    await ws.write([...send.slice(0, -1), Buffer.concat([send.at(-1), marks[finish]])]);
    if (halfClose) ws.halfClose();
    const closing = await finishers[finish](ws);
    return { ...transcript(ws, opened), ...closing };
  } finally {
    ws.destroy();
  }
}

// Pongs are kept apart: where a message and a ping arrive together, the reference may answer in either order.
function transcript(ws, opened) {
  const frames = ws.frames.map(recordFrame);
  return {
    extensions: /^sec-websocket-extensions: (.*)$/im.exec(ws.head)?.[1],
    opened,
    frames: frames.filter((f) => f.opcode !== PONG),
    pongs: frames.filter((f) => f.opcode === PONG),
    ended: ws.ended,
  };
}

const recordedHeaders = ["connection", "upgrade", "content-type", "sec-websocket-accept", "sec-websocket-protocol", "sec-websocket-version", "sec-websocket-extensions"];

/** Sends one request and returns what came back: the head of the response, and a body or the fact that frames follow. */
async function runHandshake(addr, { bytes, ...request }) {
  const ws = new RawWebSocket(addr, bytes ?? upgradeRequest(request));
  try {
    await ws.until("complete answer", () => ws.frames.length > 0 || body(ws) !== undefined);
    const all = headers(ws);
    // A connection that may go on is HTTP/1.1's default, said or not.
    if (all.connection === "keep-alive") delete all.connection;
    return {
      status: ws.head?.split("\r\n")[0],
      headers: Object.fromEntries(recordedHeaders.filter((name) => name in all).map((name) => [name, all[name]])),
      body: ws.frames.length > 0 ? "(frames)" : (body(ws) ?? ws.rest.toString()),
    };
  } finally {
    ws.destroy();
  }
}

function headers(ws) {
  const lines = (ws.head ?? "").split("\r\n").slice(1).map((line) => line.split(/: (.*)/s));
  return Object.fromEntries(lines.map(([name, value]) => [name.toLowerCase(), value]));
}

/** The body of a response once it is complete; without a length it is not before the connection ends. */
function body(ws) {
  if (ws.head === null) return undefined;
  const { "content-length": length, "transfer-encoding": encoding } = headers(ws);
  const received = ws.rest.toString();
  if (encoding === "chunked") return /^[0-9a-f]+\r\n(.*)\r\n0\r\n\r\n$/s.exec(received)?.[1];
  return length !== undefined && received.length >= Number(length) ? received : undefined;
}

function compare(cases, runner) {
  for (const { name, server = "plain", ...rest } of cases) {
    it(name, { timeout: 30000 }, async () => {
      const { reference, subject } = servers[server];
      const [expected, got] = await Promise.all([runner(reference.addr, rest), runner(subject.addr, rest)]);
      assertSame(selfCheck || cases === closing ? expected : quietly(expected), got);
    });
  }
}

/** Sockeye ends a connection whose message was too long without a close frame, after which some clients wait for minutes. */
function quietly({ frames, ...rest }) {
  if (frames === undefined) return rest;
  return { ...rest, frames: frames.filter((f) => !(f.code === TOO_BIG)) };
}

const groups = { framing, text, closing, engine, deflated };
for (const [name, cases] of Object.entries(groups)) {
  describe(`frames: ${name}`, { concurrency: PARALLEL }, () => compare(cases, run));
}
describe("handshakes", { concurrency: PARALLEL }, () => compare(handshakes, runHandshake));
describe("handshakes that are refused differently", { concurrency: PARALLEL }, () => {
  for (const { name, reason, server = "plain", ...request } of knownDifferences) {
    it(`${name}: ${reason}`, { timeout: 30000 }, async () => {
      const { reference, subject } = servers[server];
      const [expected, got] = await Promise.all([runHandshake(reference.addr, request), runHandshake(subject.addr, request)]);
      if (selfCheck) return;
      assert.match(got.status, /^HTTP\/1\.1 [45]/);
      // A case that has become equal belongs into the table above.
      assert.notDeepEqual(got, expected);
    });
  }
});
