// The tables of docs/http.md: inputs on which net/http and Node's HTTP server disagree. Both columns are typed in, so that a
// change of either is noticed.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { PollingSession } from "./lib/engineclient.mjs";
import { Exchange } from "./lib/rawhttp.mjs";
import { selfCheck, shared, sides, stopShared } from "./lib/servers.mjs";
import { Names } from "./lib/transcript.mjs";

after(stopShared);

const query = "?EIO=4&transport=polling";
const rest = "Host: a\r\nConnection: close\r\n\r\n";
const line = (target) => `GET ${target} HTTP/1.1\r\n`;
const get = (headers, body = "") => `${line(`/engine.io/${query}`)}Connection: close\r\n${headers}\r\n\r\n${body}`;
const version = (v) => `GET /engine.io/${query} HTTP/${v}\r\n${rest}`;
const method = (m) => `${m} /engine.io/${query} HTTP/1.1\r\n${rest}`;
const chunks = "6\r\n4hello\r\n0\r\n\r\n";

/** Input: [what is sent, the status of Node, that of Sockeye]. */
const handshakes = {
  "an ordinary handshake": [line(`/engine.io/${query}`) + rest, 200, 200],
  "empty lines": [`\r\n\r\n${line(`/engine.io/${query}`)}${rest}`, 200, 400],
  "a line feed": [`\n${line(`/engine.io/${query}`)}${rest}`, 200, 400],
  "two spaces": [line(` /engine.io/${query}`) + rest, 200, 400],
  "escape zz": [line(`/engine.io/%zz${query}`) + rest, 200, 400],
  "escape without digits": [line(`/engine.io/%${query}`) + rest, 200, 400],
  "escape of one digit": [line(`/engine.io/%e${query}`) + rest, 200, 400],
  "escape in the query": [line(`/engine.io/${query}&x=%zz`) + rest, 200, 200],
  "high byte": [line(`/engine.io/\u00ff${query}`) + rest, 400, 200],
  absolute: [line(`http://h/engine.io/${query}`) + rest, 404, 200],
  "line feeds": [(line(`/engine.io/${query}`) + rest).replaceAll("\r", ""), 400, 200],
  continued: [get("Host: a\r\nX: a\r\n b"), 400, 200],
  "two hosts": [get("Host: a\r\nHost: b"), 200, 400],
  "no host name": [get("Host: a/b c"), 200, 400],
  "lower case": [method("get"), 400, 400],
  "unknown method": [method("FOO"), 400, 400],
  0.9: [`GET /engine.io/${query}\r\n\r\n`, 200, 400],
  1.2: [version("1.2"), 400, 200],
  "2.0": [version("2.0"), 200, 505],
  "two lengths": [get("Host: a\r\nContent-Length: 0\r\nContent-Length: 0"), 400, 200],
  "length and chunks": [get("Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"), 400, 200],
  "gzip, chunked": [get("Host: a\r\nTransfer-Encoding: gzip, chunked", "0\r\n\r\n"), 200, 501],
  "HTTP/1.0 and an unknown coding": [`GET /engine.io/${query} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: foo\r\n\r\n`, 400, 200],
  "OPTIONS *": [`OPTIONS * HTTP/1.1\r\n${rest}`, 404, 200],
  "CONNECT to a path": [method("CONNECT"), 0, 400],
  "CONNECT to a host": [`CONNECT a:80 HTTP/1.1\r\n${rest}`, 0, 404],
  "expects 100": [get("Host: a\r\nExpect: 100-continue"), 200, 200],
  "expects something else": [get("Host: a\r\nExpect: foo"), 417, 417],
  "two slashes": [line(`//engine.io/${query}`) + rest, 404, 404],
  "two slashes behind the prefix": [line(`/engine.io//${query}`) + rest, 200, 200],
};

/** POST: [the version, the headers, the body, what comes of it in Node, in Sockeye: the status and whether the session goes on]. */
const posts = {
  "an ordinary POST": ["1.1", "Content-Length: 6", "4hello", "200 true", "200 true"],
  "HTTP/1.0, chunked": ["1.0", "Transfer-Encoding: chunked", chunks, "200 true", "400 false"],
  "HTTP/1.0, chunked, kept alive": ["1.0", "Connection: keep-alive\r\nTransfer-Encoding: chunked", chunks, "200 true", "400 false"],
  "HTTP/1.0 without a length": ["1.0", "X: y", "4hello", "400 false", "400 false"],
  "HTTP/1.1 without a length": ["1.1", "Connection: close", "4hello", "400 false", "400 false"],
  identity: ["1.1", "Content-Length: 6\r\nTransfer-Encoding: identity", "4hello", "400 true", "501 true"],
  "HTTP/1.0, a length and chunks": ["1.0", `Content-Length: ${chunks.length}\r\nTransfer-Encoding: chunked`, chunks, "400 true", "400 false"],
  "HTTP/1.0, a length, chunks and more": ["1.0", `Content-Length: ${chunks.length + 6}\r\nTransfer-Encoding: chunked`, `${chunks}4hello`, "400 true", "400 false"],
  "HTTP/1.0, a length below that of the chunks": ["1.0", "Content-Length: 4\r\nTransfer-Encoding: chunked", chunks, "400 true", "200 true"],
  "HTTP/1.0, a length and an unknown coding": ["1.0", "Content-Length: 6\r\nTransfer-Encoding: foo", "4hello", "400 true", "200 true"],
  "an unknown coding": ["1.1", "Transfer-Encoding: xchunked", chunks, "400 false", "501 true"],
  "chunked twice": ["1.1", "Transfer-Encoding: chunked, chunked", chunks, "400 true", "501 true"],
  "chunked in two headers": ["1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunks, "400 true", "501 true"],
  "chunked and a comma": ["1.1", "Transfer-Encoding: chunked,", chunks, "400 true", "501 true"],
  "expects 100": ["1.1", "Content-Length: 6\r\nExpect: 100-continue", "4hello", "200 true", "200 true"],
  "no chunk": ["1.1", "Transfer-Encoding: chunked", "zz\r\nfoo", "400 false", "400 false"],
  "a chunk longer than its size": ["1.1", "Transfer-Encoding: chunked", '6\r\n4helloXX', "400 false", "400 false"],
  "a negative chunk": ["1.1", "Transfer-Encoding: chunked", "-6\r\n4hello\r\n0\r\n\r\n", "400 false", "400 false"],
  "a chunk of too many digits": ["1.1", "Transfer-Encoding: chunked", "fffffffffffffffff\r\n4hello\r\n0\r\n\r\n", "400 false", "400 false"],
  "a good chunk and a broken one": ["1.1", "Transfer-Encoding: chunked", "6\r\n4hello\r\nQ\r\n", "400 false", "400 false"],
  "a trailer of no form": ["1.1", "Transfer-Encoding: chunked", "6\r\n4hello\r\n0\r\n no header\r\n\r\n", "400 false", "400 false"],
  "many chunks at once": ["1.1", "Transfer-Encoding: chunked", `1\r\n4\r\n${"1\r\na\r\n".repeat(10001)}0\r\n\r\n`, "413 false", "200 true"],
};

async function answer(addr, bytes) {
  const exchange = new Exchange(addr, Buffer.from(bytes, "latin1"));
  try {
    return (await exchange.response()).status;
  } finally {
    exchange.destroy();
  }
}

/** The statuses of several answers on one connection. */
async function statuses(addr, bytes, count) {
  const exchange = new Exchange(addr, Buffer.from(bytes, "latin1"));
  const all = () => [...exchange.received.toString("latin1").matchAll(/HTTP\/1\.1 (\d+)/g)].map((m) => Number(m[1]));
  try {
    await exchange.wait(() => (all().length === count ? true : undefined));
    return all();
  } finally {
    exchange.destroy();
  }
}

for (const [column, side] of sides.entries()) {
  if (selfCheck && side !== "reference") continue;
  test(`handshakes: ${side}`, async () => {
    const { addr } = await shared(side, "serve", ["--app", "engine"]);
    const got = {};
    for (const [name, [bytes]] of Object.entries(handshakes)) got[name] = await answer(addr, bytes);
    assert.deepEqual(got, Object.fromEntries(Object.entries(handshakes).map(([name, row]) => [name, row[1 + column]])));
  });

  test(`empty lines before a second request: ${side}`, async () => {
    const { addr } = await shared(side, "serve", ["--app", "engine"]);
    const second = `\r\n\r\n${line(`/engine.io/${query}`)}${rest}`;
    const session = await PollingSession.open(addr, new Names());
    const first = {
      GET: `${line(`/engine.io/${query}`)}Host: a\r\n\r\n`,
      POST: `POST ${session.target} HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n4hello`,
    };
    const got = {};
    for (const [name, bytes] of Object.entries(first)) got[name] = await statuses(addr, bytes + second, 2);
    assert.deepEqual(got, { GET: [200, [200, 400][column]], POST: [200, 200] });
  });

  test(`a POST that is half there when its session ends: ${side}`, async () => {
    const { addr } = await shared(side, "serve", ["--app", "engine"]);
    const session = await PollingSession.open(addr, new Names());
    const first = new Exchange(addr, Buffer.from(`POST ${session.target} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n4a`));
    let second;
    do second = await session.post("4b");
    while (second.status === 200); // the first is not there
    assert.equal(second.status, 400);
    assert.equal((await first.response()).status, [0, 400][column]);
    first.destroy();
  });

  test(`POST requests: ${side}`, async () => {
    const { addr } = await shared(side, "serve", ["--app", "engine"]);
    const got = {};
    for (const [name, [version, headers, body]] of Object.entries(posts)) {
      const session = await PollingSession.open(addr, new Names());
      const status = await answer(addr, `POST ${session.target} HTTP/${version}\r\nHost: a\r\n${headers}\r\n\r\n${body}`);
      got[name] = `${status} ${(await session.known()) === "known"}`;
    }
    assert.deepEqual(got, Object.fromEntries(Object.entries(posts).map(([name, row]) => [name, row[3 + column]])));
  });
}
