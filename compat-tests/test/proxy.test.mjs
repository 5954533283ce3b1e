// Answers that a server gives before it has read a request's body, as a client behind a proxy sees them. The reference closes
// the connection under them, which nginx reports as 502; the expectation is therefore typed in.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { PollingSession } from "./lib/engineclient.mjs";
import { Exchange, requestBytes } from "./lib/rawhttp.mjs";
import { startNginx } from "./lib/nginx.mjs";
import { shared, stopShared } from "./lib/servers.mjs";
import { Names } from "./lib/transcript.mjs";

after(stopShared);

const megabyte = 1_000_000;
const sizes = [megabyte + 1, 1.3 * megabyte, 3 * megabyte];
const times = 6;

/** What answers early: how to make the target and the headers of the POST, and the status that its client gets. */
const early = {
  "too large": { status: 413 },
  "unknown session": { status: 400, spoil: (session) => (session.sid = "AAAAAAAAAAAAAAAAAAAA") },
  "wrong type": { status: 400, headers: { "Content-Type": "application/octet-stream" } },
  overlap: { status: 400, spoil: (session) => openPost(session) },
};

/** A POST for whose body the server waits. It goes to the server itself: a proxy would wait in its place. */
async function openPost(session) {
  const headers = { "Content-Length": 10, Expect: "100-continue" };
  const exchange = new Exchange(session.direct, requestBytes({ method: "POST", target: session.target, headers }));
  await exchange.wait(() => (exchange.received.includes("100 Continue") ? true : undefined));
  return exchange;
}

for (const buffering of ["on", "off"]) {
  for (const [name, { status, headers, spoil }] of Object.entries(early)) {
    test(`${name}, request buffering ${buffering}`, { timeout: 120000 }, async () => {
      const { addr } = await shared("sockeye", "serve", ["--app", "engine"]);
      const nginx = await startNginx(addr, ["client_max_body_size 10m;", `proxy_request_buffering ${buffering};`]);
      try {
        const got = [];
        for (const size of sizes) {
          for (let i = 0; i < times; i++) {
            const session = await PollingSession.open(nginx.addr, new Names());
            session.direct = addr;
            const held = await spoil?.(session);
            got.push((await session.post("4".repeat(size), { headers, timeout: 20000 })).status);
            held?.destroy?.();
          }
        }
        assert.deepEqual(got, Array(sizes.length * times).fill(status));
      } finally {
        await nginx.stop();
      }
    });
  }
}

// A second POST beside one whose body is still coming breaks the protocol, and the session ends. Both get an answer.
for (const chunked of [false, true]) {
  test(`a POST that is half there when its session ends${chunked ? ", in chunks" : ""}`, { timeout: 60000 }, async () => {
    const { addr } = await shared("sockeye", "serve", ["--app", "engine"]);
    const nginx = await startNginx(addr, ["client_max_body_size 10m;", "proxy_http_version 1.1;", "proxy_request_buffering off;"]);
    try {
      for (const size of [100, 300_000]) {
        for (let i = 0; i < times; i++) {
          const session = await PollingSession.open(nginx.addr, new Names());
          const bytes = requestBytes({ method: "POST", target: session.target, body: "4".repeat(size), chunked });
          const half = bytes.length - size / 2;
          const first = new Exchange(nginx.addr, bytes.subarray(0, half));
          // Until it is there, others are welcome.
          let second;
          do second = await session.post("4b");
          while (second.status === 200);
          first.socket.write(bytes.subarray(half));
          assert.deepEqual([second.status, (await first.response(20000)).status], [400, 400], `${size} bytes`);
          first.destroy();
        }
      }
    } finally {
      await nginx.stop();
    }
  });
}
