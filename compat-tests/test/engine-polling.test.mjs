// Engine.IO over long-polling: payloads, overlaps, limits, closing.
import { after } from "node:test";
import { PollingSession, SEPARATOR } from "./lib/engineclient.mjs";
import { Exchange, recordResponse, request, requestBytes } from "./lib/rawhttp.mjs";
import { stopShared } from "./lib/servers.mjs";
import { sleep } from "./lib/sleep.mjs";
import { differential } from "./lib/transcript.mjs";

after(stopShared);

const echo = { args: ["--app", "engine"] };
const small = { args: ["--app", "engine", "--max-http-buffer-size", "2000"] };

differential("one message, several, unicode and binary", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const payloads = {
    one: "4hello",
    empty: "4",
    several: ["4a", "4b", "4c"].join(SEPARATOR),
    unicode: "4\u00e9\u20ac\u{1f600}\u2028\u2029\0",
    binary: "bAQIDBA==",
    "empty binary": "b",
    "binary between texts": ["4x", "bAAE=", "4y"].join(SEPARATOR),
    "unpadded base64": "bAQIDBA",
    "url base64": "b-_8=",
    "base64 with spaces": "bAQ ID BA==",
    "not base64": "b!!!!",
    "half base64": "bAQID!BA==",
  };
  const out = {};
  for (const [name, payload] of Object.entries(payloads)) {
    out[name] = { post: recordResponse(await session.post(payload)), poll: recordResponse(await session.poll()) };
  }
  return out;
});

differential("messages wait for the next poll in one payload", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  for (const text of ["4one", "bAQI=", "4three"]) await session.post(text);
  return { packets: await session.packets() };
});

differential("a pending poll is answered by a message", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const poll = await session.parkPoll();
  await session.post("4late");
  return { poll: recordResponse(await poll.done) };
});

differential("content types of a POST", echo, async ({ addr, names }) => {
  const types = ["text/plain", "text/plain;charset=UTF-8", "application/json", "application/octet-stream; x=1", "", null, "Application/Octet-Stream", "application/octet-stream"];
  const out = {};
  for (const type of types) {
    const session = await PollingSession.open(addr, names);
    const post = await session.post("4hi", { headers: { "Content-Type": type } });
    out[String(type)] = { post: recordResponse(post), then: await session.known() };
    if (post.status === 200) out[String(type)].packets = await session.packets();
  }
  return out;
});

differential("a second poll while one is pending", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const first = await session.parkPoll();
  const second = await session.poll();
  return { second: recordResponse(second), first: recordResponse(await first.done), then: await session.known() };
});

differential("a second POST while one is under way", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const head = requestBytes({ method: "POST", target: session.target, headers: { "Content-Length": 10, "Content-Type": "text/plain" } });
  const first = new Exchange(addr, head);
  await sleep(100);
  const second = await session.post("4b");
  const out = { second: recordResponse(second), then: await session.known() };
  first.destroy(); // what it gets: http-differences.test.mjs
  return out;
});

differential("a poll that goes away closes the session", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const poll = await session.parkPoll();
  poll.exchange.destroy();
  return { then: await session.gone() };
});

differential("a POST that goes away closes the session", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const exchange = new Exchange(addr, requestBytes({ method: "POST", target: session.target, headers: { "Content-Length": 10 } }));
  exchange.socket.write("4abc");
  await sleep(100);
  exchange.destroy();
  return { then: await session.gone() };
});

differential("packets that are not messages", echo, async ({ addr, names }) => {
  const payloads = {
    empty: "",
    "unknown type": "9",
    "unknown type with data": "7hello",
    letter: "x",
    "only a separator": SEPARATOR,
    "trailing separator": `4a${SEPARATOR}`,
    "leading separator": `${SEPARATOR}4a`,
    "good then bad": ["4a", "9", "4b"].join(SEPARATOR),
    open: "0",
    "open with data": '0{"sid":"x"}',
    close: "1",
    "close then message": ["4a", "1", "4b"].join(SEPARATOR),
    ping: "2",
    "ping probe": "2probe",
    pong: "3",
    upgrade: "5",
    noop: "6",
    "v3 payload": "6:4hello",
  };
  const out = {};
  for (const [name, payload] of Object.entries(payloads)) {
    const session = await PollingSession.open(addr, names);
    const poll = await session.parkPoll();
    const post = await session.post(payload);
    const known = await session.known();
    if (known === "known") await session.post("4after");
    out[name] = { post: recordResponse(post), known, poll: recordResponse(await poll.done) };
  }
  return out;
});

differential("bodies at and over the limit", small, async ({ addr, names }) => {
  const bodies = {
    "at the limit": { body: "4" + "a".repeat(1999) },
    "one over": { body: "4" + "a".repeat(2000) },
    "far over": { body: "4" + "a".repeat(200000) },
    "chunked at the limit": { body: "4" + "a".repeat(1999), chunked: true },
    "chunked one over": { body: "4" + "a".repeat(2000), chunked: true },
    "chunked far over": { body: "4" + "a".repeat(200000), chunked: true },
    "counted in bytes": { body: "4" + "\u20ac".repeat(667) },
  };
  const out = {};
  for (const [name, options] of Object.entries(bodies)) {
    const session = await PollingSession.open(addr, names);
    const post = await session.post(options.body, options);
    const { status, body } = recordResponse(post);
    out[name] = { status, body, then: await session.known() };
    if (post.status === 200) out[name].echoed = (await session.packets()).map((p) => p.length);
    else if (out[name].then === "known") {
      out[name].next = (await session.post("4next")).status;
      out[name].echoed = await session.packets();
    }
  }
  return out;
});

differential("a body that does not come in time", { args: ["--app", "engine", "--http-request-body-timeout", "500ms"] }, async ({ addr, names }) => {
  const out = {};
  for (const [name, headers] of Object.entries({ length: { "Content-Length": 10 }, chunked: { "Transfer-Encoding": "chunked" } })) {
    const session = await PollingSession.open(addr, names);
    const exchange = new Exchange(addr, requestBytes({ method: "POST", target: session.target, headers }));
    exchange.socket.write("4\r\n4ab");
    out[name] = { status: (await exchange.response()).status, then: await session.known() };
    exchange.destroy();
  }
  return out;
});

differential("a body in many pieces", { args: ["--app", "engine", "--max-buffered-chunks", "20"] }, async ({ addr, names }) => {
  const out = {};
  for (const pieces of [10, 40]) {
    const session = await PollingSession.open(addr, names);
    const exchange = new Exchange(addr, requestBytes({ method: "POST", target: session.target, headers: { "Transfer-Encoding": "chunked" } }));
    for (let i = 0; i < pieces; i++) {
      exchange.socket.write(`1\r\n${i === 0 ? 4 : "a"}\r\n`);
      await sleep(10);
    }
    exchange.socket.write("0\r\n\r\n");
    out[pieces] = { status: (await exchange.response()).status, then: await session.known() };
    exchange.destroy();
  }
  return out;
});

differential("a payload larger than the limit is sent all the same", small, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  for (let i = 0; i < 3; i++) await session.post("4" + String(i).repeat(1500));
  return { packets: (await session.packets()).map((p) => `${p.slice(0, 4)} ${p.length}`) };
});

differential("close by the client with a pending poll", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const poll = await session.parkPoll();
  const post = await session.post("1");
  return { post: recordResponse(post), poll: recordResponse(await poll.done), then: await session.known() };
});

differential("close by the client without a poll", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  return { post: recordResponse(await session.post("1")), then: await session.known(), poll: recordResponse(await session.poll()) };
});

differential("heartbeat: ping, pong, timeout", { quiet: true, args: ["--app", "engine", "--ping-interval", "300ms", "--ping-timeout", "600ms"] }, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const out = { packets: [] };
  for (let i = 0; i < 3; i++) {
    out.packets.push(...(await session.packets()));
    out.packets.push((await session.post("3")).status);
  }
  out.packets.push(...(await session.packets()));
  const last = session.startPoll();
  out.end = recordResponse(await last.done);
  out.then = await session.known();
  return out;
});

differential("heartbeat: another packet extends the deadline once", { args: ["--app", "engine", "--ping-interval", "300ms", "--ping-timeout", "800ms"] }, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const out = { ping: await session.packets() };
  await sleep(500);
  out.first = (await session.post("4a")).status;
  await sleep(600);
  out.extended = await session.known();
  out.second = (await session.post("4b")).status;
  await sleep(700);
  out.notTwice = await session.known();
  return out;
});

differential("keep-alive: several requests on one connection", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const exchange = new Exchange(addr);
  const out = [];
  for (const text of ["4a", "4b"]) {
    exchange.socket.write(requestBytes({ method: "POST", target: session.target, body: text, headers: { Connection: "keep-alive" } }));
    out.push((await exchange.response()).body.toString());
    exchange.received = Buffer.alloc(0);
    exchange.socket.write(requestBytes({ target: session.target, headers: { Connection: "keep-alive" } }));
    out.push((await exchange.response()).body.toString());
    exchange.received = Buffer.alloc(0);
  }
  exchange.destroy();
  return out;
});

differential("HTTP/1.0 and Expect: 100-continue", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const expect = await request(addr, { method: "POST", target: session.target, body: "4x", headers: { Expect: "100-continue" } });
  const old = await request(addr, { bytes: Buffer.from(`GET ${session.target} HTTP/1.0\r\nHost: a\r\n\r\n`) });
  return { expect: recordResponse(expect), old: { status: old.status, body: old.body.toString() } };
});
