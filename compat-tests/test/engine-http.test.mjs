// The HTTP surface of Engine.IO: which requests are refused, and how.
import { after } from "node:test";
import { FrameLog, PollingSession } from "./lib/engineclient.mjs";
import { Exchange, recordResponse, request, requestBytes } from "./lib/rawhttp.mjs";
import { selfCheck, stopShared } from "./lib/servers.mjs";
import { differential } from "./lib/transcript.mjs";

after(stopShared);

const echo = { args: ["--app", "engine"] };
const P = "/engine.io/";

/** Sends each request in turn and keeps the answers under the requests' names. */
async function answers(addr, requests) {
  const out = {};
  for (const [name, options] of Object.entries(requests)) {
    const normal = typeof options === "string" ? { target: options } : options;
    out[name] = recordResponse(await request(addr, normal));
  }
  return out;
}

differential("handshakes that are refused", echo, ({ addr }) =>
  answers(addr, {
    "no parameters": P,
    "no transport": `${P}?EIO=4`,
    "unknown transport": `${P}?EIO=4&transport=flash`,
    "empty transport": `${P}?EIO=4&transport=`,
    "transport of another case": `${P}?EIO=4&transport=Polling`,
    "webtransport over HTTP": `${P}?EIO=4&transport=webtransport`,
    "transport named like a prototype member": `${P}?EIO=4&transport=constructor`,
    "transport __proto__": `${P}?EIO=4&transport=__proto__`,
    "no EIO": `${P}?transport=polling`,
    "EIO 3": `${P}?EIO=3&transport=polling`,
    "EIO 5": `${P}?EIO=5&transport=polling`,
    "EIO 04": `${P}?EIO=04&transport=polling`,
    "EIO 4.0": `${P}?EIO=4.0&transport=polling`,
    "empty EIO": `${P}?EIO=&transport=polling`,
    "EIO 4 with a space": `${P}?EIO=4%20&transport=polling`,
    "lower-case eio": `${P}?eio=4&transport=polling`,
    "EIO 3 with JSONP": `${P}?EIO=3&transport=polling&j=0`,
    "EIO 3 with b64": `${P}?EIO=3&transport=polling&b64=1`,
    "websocket without upgrade": `${P}?EIO=4&transport=websocket`,
    "websocket by POST": { method: "POST", target: `${P}?EIO=4&transport=websocket`, body: "" },
    "both wrong: transport first": `${P}?EIO=3&transport=flash`,
    "both wrong: sid first": `${P}?EIO=3&transport=polling&sid=abc`,
  }),
);

differential("methods of a handshake", echo, async ({ addr }) => {
  const target = `${P}?EIO=4&transport=polling`;
  const out = {};
  for (const method of ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]) {
    const exchange = new Exchange(addr, requestBytes({ method, target, ...(method === "HEAD" ? {} : { body: "x" }) }));
    if (method === "HEAD") {
      await exchange.closed();
      out.HEAD = exchange.received.toString().split("\r\n")[0];
    } else {
      out[method] = recordResponse(await exchange.response());
    }
    exchange.destroy();
  }
  return out;
});

differential("session ids that are unknown", echo, async ({ addr }) => {
  const sids = ["abc", "__proto__", "constructor", "toString", "hasOwnProperty", "%00", "%F0%9F%98%80", "a".repeat(2000), "0", "null", "undefined", "%20", "..%2f"];
  const out = {};
  for (const sid of sids) {
    for (const method of ["GET", "POST", "OPTIONS", "DELETE"]) {
      const target = `${P}?EIO=4&transport=polling&sid=${sid}`;
      out[`${method} ${sid.slice(0, 30)}`] = recordResponse(await request(addr, { method, target, body: method === "POST" ? "2" : undefined }));
    }
  }
  out["empty sid is a handshake"] = (await request(addr, { target: `${P}?EIO=4&transport=polling&sid=` })).status;
  out["websocket without upgrade"] = recordResponse(await request(addr, { target: `${P}?EIO=4&transport=websocket&sid=abc` }));
  return out;
});

differential("odd query strings", echo, async ({ addr, names }) => {
  const targets = {
    "duplicate transport, last wins": `${P}?EIO=4&transport=flash&transport=polling`,
    "duplicate transport, last is wrong": `${P}?EIO=4&transport=polling&transport=flash`,
    "duplicate EIO, last wins": `${P}?EIO=3&EIO=4&transport=polling`,
    "duplicate EIO, last is wrong": `${P}?EIO=4&EIO=3&transport=polling`,
    "duplicate sid": `${P}?EIO=4&transport=polling&sid=&sid=abc`,
    "duplicate sid, last empty": `${P}?EIO=4&transport=polling&sid=abc&sid=`,
    "semicolon in a value": `${P}?EIO=4&x=a;b&transport=polling`,
    "semicolon instead of ampersand": `${P}?EIO=4;transport=polling`,
    "semicolon after the transport": `${P}?EIO=4&transport=polling;`,
    "escaped names": `${P}?%45IO=4&tr%61nsport=polling`,
    "escaped value": `${P}?EIO=%34&transport=poll%69ng`,
    "plus is a space": `${P}?EIO=4&transport=polling+`,
    "bad escapes": `${P}?EIO=4&transport=polling&x=%zz&y=%`,
    "bad escape in the transport": `${P}?EIO=4&transport=polling%`,
    "second question mark": `${P}?EIO=4&transport=polling?x`,
    "question mark in another value": `${P}?x=?&EIO=4&transport=polling`,
    "empty pairs": `${P}?&&EIO=4&&transport=polling&&`,
    "no value": `${P}?EIO=4&transport=polling&flag`,
    "fragment": `${P}?EIO=4&transport=polling#sid=abc`,
    "longer path": `${P}more/of/it?EIO=4&transport=polling`,
    "path without slash": `/engine.io?EIO=4&transport=polling`,
    "path of another case": `/Engine.IO/?EIO=4&transport=polling`,
    "double slash": `//engine.io/?EIO=4&transport=polling`,
    "escaped path": `/engine%2eio/?EIO=4&transport=polling`,
    "dot segments": `/engine.io/../x?EIO=4&transport=polling`,
    "unused parameters": `${P}?EIO=4&transport=polling&t=abc&b64=1&x=`,
    "array-like names": `${P}?EIO[]=4&transport[]=polling`,
  };
  const out = {};
  for (const [name, target] of Object.entries(targets)) {
    const response = await request(addr, { target });
    const open = /^0(\{.*\})$/.exec(response.body.toString());
    if (open) names.add(JSON.parse(open[1]).sid, name);
    out[name] = response.status === 404 ? { status: 404 } : recordResponse(response);
    delete out[name].headers?.["content-length"];
  }
  return out;
});

differential("the open packet", echo, async ({ addr, names }) => {
  const out = {};
  for (const agent of ["curl/8", "Mozilla/4.0 (compatible;MSIE 9.0)", "Mozilla/5.0 (Windows NT; Trident/7.0; rv:11.0)", "MSIE"]) {
    const response = await request(addr, { target: `${P}?EIO=4&transport=polling`, headers: { "User-Agent": agent } });
    names.add(JSON.parse(response.body.toString().slice(1)).sid, "sid");
    out[agent] = recordResponse(response);
  }
  const ws = await FrameLog.session(addr, names, { name: "ws" });
  out.websocket = ws.frames;
  ws.destroy();
  return out;
});

// A known difference: the reference also serves JSONP to revision 4, where no
// client asks for it. Sockeye answers as if the parameter were absent.
differential("JSONP is not served to revision 4", echo, async ({ addr, names, server }) => {
  const session = await PollingSession.open(addr, names, "sid", { query: server.side === "sockeye" && !selfCheck ? "&j=0" : "" });
  const post = recordResponse(await session.post("4hello"));
  return { open: recordResponse(session.handshakeResponse), post, next: await session.packets() };
});

differential("other methods on a session", echo, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names);
  const out = {};
  for (const method of ["PUT", "PATCH", "DELETE", "OPTIONS"]) {
    out[method] = recordResponse(await request(addr, { method, target: session.target, body: method === "OPTIONS" ? undefined : "x" }));
  }
  await session.post("4still here");
  out.after = await session.packets();
  return out;
});

differential("transport or protocol differs from the session's", echo, async ({ addr, names }) => {
  const polling = await PollingSession.open(addr, names, "polling");
  const ws = await FrameLog.session(addr, names, { name: "ws" });
  const q = (sid, transport, eio = 4) => `${P}?EIO=${eio}&transport=${transport}&sid=${sid}`;
  const out = await answers(addr, {
    "websocket GET on a polling session": q(polling.sid, "websocket"),
    "polling GET on a websocket session": q(ws.sid, "polling"),
    "polling POST on a websocket session": { method: "POST", target: q(ws.sid, "polling"), body: "4a" },
    "revision 3 on a polling session": q(polling.sid, "polling", 3),
    "no revision on a polling session": `${P}?transport=polling&sid=${polling.sid}`,
  });
  ws.send("4alive");
  out.websocket = (await ws.count(2)).slice(1);
  await polling.post("4alive");
  out.polling = await polling.packets();
  ws.destroy();
  return out;
});

differential("Origin headers", echo, async ({ addr, names }) => {
  const out = {};
  const origins = { plain: "http://example.com", null: "null", "control character": "http://a\x01b", tab: "a\tb", "high byte": "http://\xe9.example", empty: "", "escape": "a\x1b" };
  for (const [name, origin] of Object.entries(origins)) {
    const response = await request(addr, { target: `${P}?EIO=4&transport=polling`, headers: { Origin: origin } });
    const open = /^0(\{.*\})$/.exec(response.body?.toString() ?? "");
    if (open) names.add(JSON.parse(open[1]).sid, name);
    out[name] = { status: response.status, open: Boolean(open) };
  }
  return out;
});

differential("upgrades that are refused", echo, async ({ addr, names }) => {
  const polling = await PollingSession.open(addr, names, "polling");
  const targets = {
    "unknown transport": `${P}?EIO=4&transport=flash`,
    "no transport": `${P}?EIO=4`,
    "unknown sid": `${P}?EIO=4&transport=websocket&sid=abc`,
    "__proto__ sid": `${P}?EIO=4&transport=websocket&sid=__proto__`,
    "revision 3 on a session": `${P}?EIO=3&transport=websocket&sid=${polling.sid}`,
  };
  const out = {};
  for (const [name, target] of Object.entries(targets)) {
    const log = new FrameLog(addr, target);
    out[name] = await log.refusal();
    if (log.opened) out[name] = { opened: true, end: await log.end(), frames: log.frames };
    log.destroy();
  }
  await polling.post("4alive");
  out.session = await polling.packets();
  return out;
});

differential("an upgrade request for polling opens and closes", echo, async ({ addr }) => {
  const log = new FrameLog(addr, `${P}?EIO=4&transport=polling`);
  await log.open();
  const out = { opened: Boolean(log.opened), refused: log.refused ?? null };
  if (log.opened) Object.assign(out, { end: await log.end(), frames: log.frames });
  log.destroy();
  return out;
});

const upgradeHeaders = {
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
};

differential("WebSocket handshakes that are malformed", echo, async ({ addr }) => {
  const target = `${P}?EIO=4&transport=websocket`;
  const cases = {
    "no key": { "Sec-WebSocket-Key": null },
    "short key": { "Sec-WebSocket-Key": "abc" },
    "version 12": { "Sec-WebSocket-Version": "12" },
    "no version": { "Sec-WebSocket-Version": null },
    "bad extensions": { "Sec-WebSocket-Extensions": "permessage-deflate; x=" },
  };
  const out = {};
  for (const [name, change] of Object.entries(cases)) {
    const response = await request(addr, { target, headers: { ...upgradeHeaders, ...change } });
    out[name] = { status: response.status, body: response.body?.toString(), version: response.headers?.["sec-websocket-version"], type: response.headers?.["content-type"] };
  }
  const good = await request(addr, { target, headers: upgradeHeaders });
  out.good = { status: good.status, accept: good.headers["sec-websocket-accept"], upgrade: good.headers.upgrade, connection: good.headers.connection, extensions: good.headers["sec-websocket-extensions"] };
  return out;
});

differential("websocket upgrade by another method", echo, async ({ addr }) => {
  const target = `${P}?EIO=4&transport=websocket`;
  const out = {};
  for (const method of ["POST", "PUT", "HEAD"]) {
    const exchange = new Exchange(addr, requestBytes({ method, target, headers: upgradeHeaders }));
    await exchange.closed();
    out[method] = exchange.received.toString().split("\r\n\r\n")[0].split("\r\n")[0];
  }
  return out;
});
