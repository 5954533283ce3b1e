// Engine options that change the HTTP surface: CORS, cookie, compression, transports, path.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { FrameLog, PollingSession } from "./lib/engineclient.mjs";
import { recordResponse, request } from "./lib/rawhttp.mjs";
import { shared, stopShared } from "./lib/servers.mjs";
import { differential } from "./lib/transcript.mjs";

after(stopShared);

const P = "/engine.io/";
const app = (...flags) => ({ args: ["--app", "engine", ...flags] });

async function corsAnswers(addr, names, origins) {
  const out = {};
  for (const [name, headers] of Object.entries(origins)) {
    const session = await PollingSession.open(addr, names, "sid", { headers });
    out[name] = {
      open: recordResponse(session.handshakeResponse),
      post: recordResponse(await session.post("4x", { headers })),
      poll: recordResponse(await session.poll({ headers })),
      preflight: recordResponse(await request(addr, { method: "OPTIONS", target: `${P}?EIO=4&transport=polling`, headers: { ...headers, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-custom" } })),
      "preflight of a session": recordResponse(await request(addr, { method: "OPTIONS", target: session.target, headers })),
      error: recordResponse(await request(addr, { target: `${P}?EIO=4&transport=flash`, headers })),
      "unknown sid": recordResponse(await request(addr, { method: "POST", target: `${P}?EIO=4&transport=polling&sid=abc`, headers, body: "4" })),
    };
  }
  return out;
}

const origins = { none: {}, "http://a.example": { Origin: "http://a.example" }, "http://b.example": { Origin: "http://b.example" } };

for (const origin of ["*", "http://a.example", "http://a.example,http://b.example"]) {
  differential(`CORS: ${origin}`, app("--cors-origin", origin), ({ addr, names }) => corsAnswers(addr, names, origins));
}

for (const flags of [["--cors-origin", "*"], ["--cors-reflect-origin"], ["--cors-origin", "http://a.example"]]) {
  differential(`CORS with credentials: ${flags.at(-1)}`, app(...flags, "--cors-credentials"), ({ addr, names }) => corsAnswers(addr, names, origins));
}

differential("CORS: off", app(), ({ addr, names }) => corsAnswers(addr, names, origins));

differential("CORS: headers of a WebSocket handshake", app("--cors-origin", "http://a.example"), async ({ addr }) => {
  const headers = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", Origin: "http://a.example" };
  return recordResponse(await request(addr, { target: `${P}?EIO=4&transport=websocket`, headers }));
});

// The reference lets every origin in over websocket. Sockeye refuses those that are neither listed nor the server's own.
differential("CORS: a page of the server's own host beside a list of others", app("--cors-origin", "https://partner.example"), async ({ addr, names }) => {
  const own = `${addr.host}:${addr.port}`;
  const headers = { Host: own, Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" };
  const out = {};
  for (const scheme of ["http", "https"]) {
    const origin = `${scheme}://${own}`;
    const session = await PollingSession.open(addr, names, "sid", { headers: { Host: own, Origin: origin } });
    const handshake = await request(addr, { target: `${P}?EIO=4&transport=websocket`, headers: { ...headers, Origin: origin } });
    const upgrade = await request(addr, { target: session.target.replace("polling", "websocket"), headers: { ...headers, Origin: origin } });
    out[scheme] = [handshake.status, handshake.headers["access-control-allow-origin"] ?? null, upgrade.status];
  }
  return out;
});

test("CORS: foreign origins are refused over websocket", async () => {
  const { addr } = await shared("sockeye", "serve", ["--app", "engine", "--cors-origin", "https://partner.example"]);
  const headers = { Host: `${addr.host}:${addr.port}`, Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" };
  for (const [origin, status] of Object.entries({
    "https://partner.example": 101,
    "http://partner.example": 400,
    [`http://${addr.host}:1`]: 400,
    [`http://${addr.host}:${addr.port}.evil.example`]: 400,
    "null": 400,
  })) {
    const response = await request(addr, { target: `${P}?EIO=4&transport=websocket`, headers: { ...headers, Origin: origin } });
    assert.equal(response.status, status, origin);
  }
});

differential("cookie", app("--cookie", "io"), async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const open = recordResponse(session.handshakeResponse);
  const post = recordResponse(await session.post("4x"));
  const poll = recordResponse(await session.poll());
  const ws = await FrameLog.session(addr, names, { name: "ws" });
  ws.destroy();
  const headers = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" };
  const upgrade = await request(addr, { target: `${P}?EIO=4&transport=websocket`, headers });
  return { open, post, poll, upgrade: recordResponse(upgrade).headers };
});

differential("HTTP compression is negotiated", app(), async ({ addr, names }) => {
  const accept = [null, "", "gzip", "deflate", "gzip, deflate", "deflate, gzip", "br", "gzip;q=0", "gzip;q=0.1, deflate;q=0.9", "*", "identity", "identity;q=0", "GZIP", "gzip;q=0, *", "x-gzip", "br, *;q=0.1"];
  const out = {};
  for (const value of accept) {
    const session = await PollingSession.open(addr, names);
    await session.post("4" + "a".repeat(2000));
    const response = await session.poll({ headers: { "Accept-Encoding": value } });
    const { status, headers, body } = recordResponse(response);
    delete headers["content-length"];
    out[String(value)] = { status, headers, length: body.length };
  }
  return out;
});

differential("HTTP compression threshold", app(), async ({ addr, names }) => {
  const out = {};
  for (const length of [10, 1022, 1023, 1024]) {
    const session = await PollingSession.open(addr, names);
    await session.post("4" + "a".repeat(length));
    const response = await session.poll({ headers: { "Accept-Encoding": "gzip" } });
    out[length] = { encoding: response.headers["content-encoding"] ?? null, length: recordResponse(response).body.length };
  }
  const session = await PollingSession.open(addr, names);
  await session.post("4" + "\u20ac".repeat(341));
  out["counted in bytes"] = (await session.poll({ headers: { "Accept-Encoding": "gzip" } })).headers["content-encoding"] ?? null;
  await session.post("b" + Buffer.alloc(1500).toString("base64"));
  out["binary as base64"] = (await session.poll({ headers: { "Accept-Encoding": "gzip" } })).headers["content-encoding"] ?? null;
  return out;
});

differential("HTTP compression off", app("--no-http-compression"), async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  await session.post("4" + "a".repeat(5000));
  return { poll: recordResponse(await session.poll({ headers: { "Accept-Encoding": "gzip" } })) };
});

differential("polling alone", app("--transports", "polling"), async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  return {
    open: recordResponse(session.handshakeResponse),
    websocket: recordResponse(await request(addr, { target: `${P}?EIO=4&transport=websocket` })),
  };
});

differential("websocket alone", app("--transports", "websocket"), async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names);
  ws.send("4x");
  const frames = await ws.count(2);
  ws.destroy();
  return { frames, polling: recordResponse(await request(addr, { target: `${P}?EIO=4&transport=polling` })) };
});

differential("upgrades not allowed", app("--no-allow-upgrades"), async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const log = await FrameLog.probe(addr, session);
  const out = { open: session.handshake };
  log.send("2probe");
  out.probe = { frames: await log.count(1), refused: log.refused ?? null };
  log.destroy();
  return out;
});

differential("numbers in the open packet", app("--ping-interval", "1234ms", "--ping-timeout", "567ms", "--max-http-buffer-size", "4321"), async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  return session.handshake;
});

differential("initial packet", app("--initial-packet", "h\u00e9llo"), async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const ws = await FrameLog.session(addr, names, { name: "ws" });
  const frames = await ws.count(2);
  ws.destroy();
  return { open: recordResponse(session.handshakeResponse), frames };
});

differential("another path", app("--path", "/a/b"), async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names, "sid", { path: "/a/b/" });
  await session.post("4x");
  const statuses = {};
  for (const path of ["/a/b", "/a/bc/", "/a/", "/engine.io/", "/a/b/c"]) {
    statuses[path] = (await request(addr, { target: `${path}?EIO=4&transport=polling` })).status;
  }
  return { packets: await session.packets(), statuses };
});

differential("permessage-deflate is offered only when it is on", app(), async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names, { perMessageDeflate: true });
  const extensions = ws.ws.extensions;
  ws.destroy();
  return { extensions };
});

differential("permessage-deflate on", app("--per-message-deflate"), async ({ addr, names }) => {
  const ws = await FrameLog.session(addr, names, { perMessageDeflate: { threshold: 0 } });
  const extensions = ws.ws.extensions;
  for (const text of ["4short", "4" + "long ".repeat(1000), "4" + "\u20ac".repeat(3000)]) ws.send(text);
  ws.send(Buffer.alloc(3000, 7));
  const frames = (await ws.count(5)).slice(1);
  ws.destroy();
  return { extensions: Object.keys(extensions), frames };
});
