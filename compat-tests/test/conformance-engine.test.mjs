// The Engine.IO v4 protocol document as test cases, run under the flags of a conformance run.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { FrameLog, PollingSession, SEPARATOR } from "./lib/engineclient.mjs";
import { recordResponse, request } from "./lib/rawhttp.mjs";
import { shared, stopShared } from "./lib/servers.mjs";
import { sleep } from "./lib/sleep.mjs";
import { differential, Names } from "./lib/transcript.mjs";

after(stopShared);

// A machine that is busy must not fail a test that is not about heartbeats.
const flags = (pingTimeout) => ["--app", "engine", "--ping-interval", "300ms", "--ping-timeout", pingTimeout, "--connect-timeout", "1s", "--cors-origin", "*"];
const engine = { args: flags("5s") };
const punctual = { args: flags("200ms") };
const P = "/engine.io/";

const get = async (addr, query, method = "GET") => recordResponse(await request(addr, { method, target: `${P}${query}` }));

// Pings arrive at any time under these flags; they are answered and left out.
const withoutPings = (packets) => packets.filter((p) => p !== "2");

async function nextMessages(session) {
  for (;;) {
    const packets = await session.packets();
    const rest = withoutPings(packets);
    if (packets.length > rest.length) await session.post("3");
    if (rest.length > 0) return rest;
  }
}

async function wsMessages(ws, n) {
  const messages = () => withoutPings(ws.frames.slice(1));
  for (let i = 2; messages().length < n && !ws.closed; i++) await ws.count(i);
  return messages().slice(0, n);
}

async function wsRefusal(addr, query) {
  const log = new FrameLog(addr, P + query);
  const refusal = await log.refusal();
  log.destroy();
  return { refusal };
}

// A known difference: the reference finds the revision out after it has accepted
// the WebSocket, and writes the HTTP error into it; Sockeye answers 400 instead.
async function wsOldRevision(addr, query) {
  const log = new FrameLog(addr, P + query);
  await log.open();
  await log.end();
  return { frames: log.frames, ended: true };
}

differential("handshake, polling: opens a session", engine, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  return { open: recordResponse(session.handshakeResponse), keys: Object.keys(session.handshake), idLength: session.sid.length };
});
differential("handshake, polling: EIO is missing", engine, ({ addr }) => get(addr, "?transport=polling"));
differential("handshake, polling: EIO is unknown", engine, ({ addr }) => get(addr, "?EIO=abc&transport=polling"));
differential("handshake, polling: transport is missing", engine, ({ addr }) => get(addr, "?EIO=4"));
differential("handshake, polling: transport is unknown", engine, ({ addr }) => get(addr, "?EIO=4&transport=abc"));
differential("handshake, polling: the method is POST", engine, ({ addr }) => get(addr, "?EIO=4&transport=polling", "POST"));
differential("handshake, polling: the method is PUT", engine, ({ addr }) => get(addr, "?EIO=4&transport=polling", "PUT"));

differential("handshake, websocket: opens a session", engine, async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  ws.destroy();
  return ws.frames;
});
differential("handshake, websocket: EIO is missing", engine, ({ addr }) => wsOldRevision(addr, "?transport=websocket"));
differential("handshake, websocket: EIO is unknown", engine, ({ addr }) => wsOldRevision(addr, "?EIO=abc&transport=websocket"));
differential("handshake, websocket: transport is missing", engine, ({ addr }) => wsRefusal(addr, "?EIO=4"));
differential("handshake, websocket: transport is unknown", engine, ({ addr }) => wsRefusal(addr, "?EIO=4&transport=abc"));

differential("message, polling: one packet each way", engine, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const post = recordResponse(await session.post("4hello"));
  return { post, messages: await nextMessages(session) };
});
differential("message, polling: several packets in one payload", engine, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const post = recordResponse(await session.post(["4test1", "4test2", "4test3"].join(SEPARATOR)));
  return { post, messages: await nextMessages(session) };
});
differential("message, polling: text and binary", engine, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  await session.post(["4hello", "bAQIDBA=="].join(SEPARATOR));
  return { messages: await nextMessages(session) };
});
differential("message, polling: an invalid packet closes the session", engine, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  await session.post("abc");
  return { poll: recordResponse(await session.poll()) };
});
differential("message, polling: a duplicate poll closes the session", engine, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const first = await session.parkPoll();
  const second = await session.poll();
  return { first: recordResponse(await first.done), second: recordResponse(second), then: recordResponse(await session.poll()) };
});
differential("message, websocket: text", engine, async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  ws.send("4hello");
  const messages = await wsMessages(ws, 1);
  ws.destroy();
  return { messages };
});
differential("message, websocket: binary", engine, async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  ws.send(Buffer.from([1, 2, 3, 4]));
  const messages = await wsMessages(ws, 1);
  ws.destroy();
  return { messages };
});
differential("message, websocket: an invalid packet closes the session", engine, async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  ws.send("abc");
  return { end: await ws.end() };
});

differential("heartbeat, polling: pings keep the session alive", punctual, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const out = [];
  for (let i = 0; i < 3; i++) out.push(await session.packets(), (await session.post("3")).status);
  return out;
});
differential("heartbeat, polling: no pong closes the session", punctual, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  await session.packets();
  await sleep(350);
  return { poll: recordResponse(await session.poll()) };
});
// The published suites poll at this very moment. The reference may be some milliseconds late when it is busy; Sockeye may not.
test("heartbeat, polling: a poll at interval plus timeout finds no session", async () => {
  const { addr } = await shared("sockeye", "serve", flags("400ms"));
  const polls = [];
  while (polls.length < 8) {
    const session = await PollingSession.open(addr, new Names());
    await sleep(700);
    polls.push((await session.poll()).status);
  }
  assert.deepEqual(polls, Array(8).fill(400));
});
differential("heartbeat, websocket: pings keep the session alive", punctual, async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  for (let i = 1; i <= 3; i++) {
    await ws.frame(i);
    ws.send("3");
  }
  const frames = ws.frames.slice(1, 4);
  ws.destroy();
  return { frames };
});
differential("heartbeat, websocket: no pong closes the session", { ...punctual, quiet: true }, async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  return { end: await ws.end(), frames: ws.frames.slice(1) };
});

differential("close, polling: the close packet ends the session", engine, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const poll = await session.parkPoll();
  const post = await session.post("1");
  return { post: recordResponse(post), poll: recordResponse(await poll.done), then: recordResponse(await session.poll()) };
});
differential("close, websocket: the close packet is not answered; the heartbeat ends the session", { ...punctual, quiet: true }, async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  ws.send("1");
  return { end: await ws.end() };
});
differential("close, websocket: a close frame ends the session", engine, async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  ws.close();
  const end = await ws.end();
  await sleep(20);
  return { end, then: await get(addr, `?EIO=4&transport=websocket&sid=${ws.sid}`) };
});

async function upgrade(addr, names) {
  const session = await PollingSession.open(addr, names);
  const log = await FrameLog.probe(addr, session);
  log.send("2probe");
  await log.frame(0);
  log.send("5");
  log.send("4hello");
  await log.count(2);
  return { session, log };
}

differential("upgrade: from polling to websocket", engine, async ({ addr, names }) => {
  const { log } = await upgrade(addr, names);
  log.destroy();
  return { frames: withoutPings(log.frames) };
});
differential("upgrade: polling requests of the session are refused afterwards", engine, async ({ addr, names }) => {
  const { session, log } = await upgrade(addr, names);
  const out = { poll: recordResponse(await session.poll()), post: recordResponse(await session.post("4x")) };
  log.destroy();
  return out;
});
differential("upgrade: another websocket for the session is closed", engine, async ({ addr, names }) => {
  const { session, log } = await upgrade(addr, names);
  const second = await FrameLog.probe(addr, session);
  const end = await second.end();
  log.send("4still");
  await sleep(20);
  const frames = withoutPings(log.frames);
  log.destroy();
  return { end, second: second.frames, frames };
});
differential("upgrade: cancelled by the client", engine, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const log = await FrameLog.probe(addr, session);
  log.send("2probe");
  await log.frame(0);
  log.close();
  await log.end();
  await session.post("4hello");
  return { messages: (await nextMessages(session)).filter((p) => p !== "6") };
});
