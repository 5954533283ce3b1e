// Engine.IO over WebSocket and the upgrade from polling: order of packets, failure paths, heartbeat.
import { after } from "node:test";
import { FrameLog, PollingSession } from "./lib/engineclient.mjs";
import { recordResponse } from "./lib/rawhttp.mjs";
import { stopShared } from "./lib/servers.mjs";
import { sleep } from "./lib/sleep.mjs";
import { differential } from "./lib/transcript.mjs";

after(stopShared);

const echo = { args: ["--app", "engine"] };
const quick = { args: ["--app", "engine", "--ping-interval", "300ms", "--ping-timeout", "600ms"] };

differential("messages", echo, async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  for (const data of ["4", "4hello", "4\u00e9\u20ac\u{1f600}\0", Buffer.from([1, 2, 3]), Buffer.alloc(0), Buffer.from("4text in binary"), "4" + "x".repeat(70000), Buffer.alloc(70000, 9), "bAQID", "6", "4last"]) ws.send(data);
  const frames = await ws.count(11);
  ws.close();
  return { frames, end: await ws.end() };
});

differential("packets that are not messages", echo, async ({ addr, names }) => {
  const packets = ["", "9", "7x", "x", "0", "1", "2", "2probe", "3", "5", "6", "b!!!"];
  const out = {};
  for (const packet of packets) {
    const ws = await FrameLog.session(addr, names);
    ws.send(packet);
    ws.send("4after");
    await Promise.race([ws.end(), ws.count(2)]);
    await sleep(30);
    out[JSON.stringify(packet)] = { frames: ws.frames.slice(1), closed: ws.closed ?? null };
    ws.destroy();
  }
  return out;
});

differential("messages at and over the limit", { quiet: true, args: ["--app", "engine", "--max-http-buffer-size", "2000"] }, async ({ addr, names }) => {
  const out = {};
  for (const data of ["4" + "a".repeat(1999), "4" + "a".repeat(2000), Buffer.alloc(2000), Buffer.alloc(2001), "4" + "a".repeat(300000)]) {
    const ws = await FrameLog.session(addr, names);
    ws.send(data);
    await Promise.race([ws.end(), ws.count(2)]);
    out[`${typeof data} ${data.length}`] = { frames: ws.frames.length, closed: ws.closed ?? null };
    ws.destroy();
  }
  return out;
});

differential("heartbeat and timeout", { ...quick, quiet: true }, async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  for (let i = 1; i <= 3; i++) {
    await ws.frame(i);
    ws.send("3");
  }
  await ws.frame(4);
  const start = Date.now();
  const end = await ws.end();
  const waited = Date.now() - start;
  return { frames: ws.frames.slice(1), end, inTime: waited > 500 && waited < 4000 };
});

differential("heartbeat: no ping while the last one is unanswered", { args: ["--app", "engine", "--ping-interval", "100ms", "--ping-timeout", "2s"] }, async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  await sleep(500);
  const silent = ws.frames.slice(1);
  ws.send("3");
  await ws.frame(2);
  ws.destroy();
  return { silent, then: ws.frames.slice(1, 3) };
});

differential("heartbeat: another packet extends the deadline once per ping", { quiet: true, args: ["--app", "engine", "--ping-interval", "300ms", "--ping-timeout", "800ms"] }, async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  await ws.frame(1);
  await sleep(500);
  ws.send("4a");
  await sleep(600);
  const afterFirst = ws.closed ?? "open";
  ws.send("4b");
  await sleep(700);
  return { afterFirst, afterSecond: ws.closed ?? "open", frames: ws.frames.slice(1) };
});

differential("a pong without a ping is harmless", quick, async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  for (let i = 0; i < 3; i++) ws.send("3");
  ws.send("4x");
  await ws.frame(1);
  await ws.frame(2);
  const frames = ws.frames.slice(1, 3);
  ws.destroy();
  return { frames };
});

async function upgraded(addr, names) {
  const session = await PollingSession.open(addr, names);
  const log = await FrameLog.probe(addr, session);
  log.send("2probe");
  await log.frame(0);
  return { session, log };
}

differential("upgrade", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const log = await FrameLog.probe(addr, session);
  const poll = session.startPoll();
  log.send("2probe");
  const out = { probe: await log.frame(0), noop: recordResponse(await poll.done) };
  log.send("5");
  log.send("4hello");
  log.send(Buffer.from([1, 2]));
  out.frames = await log.count(3);
  out.polling = recordResponse(await session.poll());
  out.post = recordResponse(await session.post("4x"));
  log.close();
  out.end = await log.end();
  await sleep(50);
  out.after = (await session.poll()).status;
  return out;
});

differential("upgrade: a poll is flushed again and again while probing", echo, async ({ addr, names }) => {
  const { session, log } = await upgraded(addr, names);
  const polls = [await session.packets(), await session.packets()];
  log.send("5");
  log.send("4x");
  await log.frame(1);
  const frames = log.frames;
  log.destroy();
  return { polls, frames };
});

differential("upgrade: messages during the probe stay in order", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const log = await FrameLog.probe(addr, session);
  await session.post("4one");
  log.send("2probe");
  await log.frame(0);
  const out = { first: await session.packets() };
  await session.post("4two");
  await session.post("4three");
  log.send("5");
  log.send("4four");
  await log.count(4);
  out.frames = log.frames;
  log.destroy();
  return out;
});

// While it probes, the server answers a parked poll every 100 ms; the upgrade packet
// has to find one parked between two of these answers.
async function upgradeWithPoll(addr, names) {
  for (let attempt = 0; attempt < 20; attempt++) {
    const { session, log } = await upgraded(addr, names);
    await session.packets();
    const poll = session.startPoll();
    await sleep(30);
    log.send("5");
    const answer = await poll.done;
    if (answer.status === 200 && answer.body.toString() !== "6") return { log, answer };
    log.destroy();
  }
  throw new Error("no poll was parked at the upgrade packet");
}

differential("upgrade: with a poll pending at the upgrade packet", echo, async ({ addr, names }) => {
  const { log, answer } = await upgradeWithPoll(addr, names);
  log.send("4x");
  await log.frame(1);
  const out = { poll: recordResponse(answer), frames: log.frames };
  log.destroy();
  return out;
});

differential("upgrade: other packets on the probing transport", echo, async ({ addr, names }) => {
  const out = {};
  for (const packet of ["4hello", "2", "2prob", "3probe", "1", "6", "9", Buffer.from([1])]) {
    const session = await PollingSession.open(addr, names);
    const log = await FrameLog.probe(addr, session);
    log.send(packet);
    const end = await log.end();
    await session.post("4alive");
    out[String(packet)] = { end, frames: log.frames, session: await session.packets() };
  }
  return out;
});

differential("upgrade: other packets after the probe", echo, async ({ addr, names }) => {
  const out = {};
  for (const packet of ["4hello", "2", "3probe", "1", "9"]) {
    const { session, log } = await upgraded(addr, names);
    log.send(packet);
    const end = await log.end();
    await session.post("4alive");
    out[packet] = { end, frames: log.frames, session: await session.packets() };
  }
  return out;
});

differential("upgrade: without a probe", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const log = await FrameLog.probe(addr, session);
  log.send("5");
  log.send("4x");
  await Promise.race([log.end(), log.count(1)]);
  const out = { frames: log.frames, closed: log.closed ?? null };
  log.destroy();
  return out;
});

differential("upgrade: probed twice", echo, async ({ addr, names }) => {
  const { log } = await upgraded(addr, names);
  log.send("2probe");
  await log.frame(1);
  log.send("5");
  log.send("4x");
  await log.frame(2);
  const frames = log.frames;
  log.destroy();
  return { frames };
});

differential("upgrade: a second attempt while one is under way", echo, async ({ addr, names }) => {
  const { session, log } = await upgraded(addr, names);
  const second = await FrameLog.probe(addr, session);
  const out = { second: await second.end(), frames: second.frames };
  log.send("5");
  log.send("4x");
  await log.frame(1);
  out.first = log.frames;
  const third = await FrameLog.probe(addr, session);
  out.third = await third.end();
  log.send("4y");
  await log.frame(2);
  out.still = log.frames;
  log.destroy();
  return out;
});

differential("upgrade: an attempt on a websocket session", echo, async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  const second = await FrameLog.probe(addr, ws);
  second.send("2probe");
  const out = { frame: await second.frame(0) };
  ws.send("4x");
  await ws.frame(1);
  out.frames = ws.frames;
  second.destroy();
  await sleep(30);
  ws.send("4y");
  out.after = await ws.count(3);
  ws.destroy();
  return out;
});

differential("upgrade: the probe goes away", echo, async ({ addr, names }) => {
  const out = {};
  for (const how of ["close", "destroy"]) {
    const { session, log } = await upgraded(addr, names);
    log[how]();
    await sleep(100);
    await session.post("4alive");
    out[how] = await session.packets();
    const again = await FrameLog.probe(addr, session);
    again.send("2probe");
    out[`${how}, again`] = await again.frame(0);
    again.destroy();
  }
  return out;
});

differential("upgrade: the probe is never completed", { args: ["--app", "engine", "--upgrade-timeout", "200ms"] }, async ({ addr, names }) => {
  const silent = await PollingSession.open(addr, names);
  const silentLog = await FrameLog.probe(addr, silent);
  const { session, log } = await upgraded(addr, names);
  const out = { silent: await silentLog.end(), probed: await log.end() };
  await session.post("4alive");
  await silent.post("4alive");
  out.packets = [await session.packets(), await silent.packets()];
  return out;
});

differential("upgrade: the session closes while probing", echo, async ({ addr, names }) => {
  const { session, log } = await upgraded(addr, names);
  const post = await session.post("1");
  return { post: recordResponse(post), end: await log.end(), then: await session.known() };
});

differential("upgrade: heartbeat goes on over the new transport", { ...quick, quiet: true }, async ({ addr, names }) => {
  const { log } = await upgraded(addr, names);
  log.send("5");
  const frames = [];
  for (let i = 1; i <= 2; i++) {
    frames.push(await log.frame(i));
    log.send("3");
  }
  await log.frame(3);
  return { frames, end: await log.end() };
});
