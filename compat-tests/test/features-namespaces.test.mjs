// Namespaces: static, dynamic, how clients are let in or refused, the handshake they bring.
import { after } from "node:test";
import { FrameLog, PollingSession } from "./lib/engineclient.mjs";
import { recordResponse, request } from "./lib/rawhttp.mjs";
import { stopShared } from "./lib/servers.mjs";
import { scenario } from "./lib/scenario.mjs";
import { sleep } from "./lib/sleep.mjs";
import { differential } from "./lib/transcript.mjs";

after(stopShared);

scenario("connect to a namespace and to the main one over one connection", async (run) => {
  await run.create();
  const a = await run.connect("a");
  const main = run.client("main", { nsp: "/", manager: a });
  await main.connected();
  a.emit("echo", "in the namespace");
  main.emit("echo", "in the main one");
  await run.settle();
  return { events: { a: a.events, main: main.events }, sameConnection: a.socket.io.engine === main.socket.io.engine, idsDiffer: a.id !== main.id, lengths: [a.id.length, main.id.length] };
});

scenario("an unknown namespace is refused, others of the connection go on", async (run) => {
  await run.create();
  const a = await run.connect("a");
  const b = run.client("b", { nsp: `${run.nsp}-unknown`, manager: a });
  await b.refused();
  a.emit("echo", 1);
  await run.settle();
});

scenario("leaving one namespace keeps the other", async (run) => {
  await run.create();
  await run.command("create", { nsp: `${run.nsp}-b` });
  const a = await run.connect("a");
  const b = run.client("b", { nsp: `${run.nsp}-b`, manager: a });
  await b.connected();
  a.socket.disconnect();
  await run.waitDisconnect(a);
  b.emit("echo", "still here");
  await run.settle();
  a.socket.connect();
  await a.reconnected();
  a.emit("echo", "again");
  await run.settle();
});

scenario("names of namespaces", async (run) => {
  const out = {};
  for (const name of ["/a-b", "/\u00e9\u20ac", "/with space", "/a/b/c", "/?x=1", "/%20", "/UPPER", "/a#b"]) {
    const nsp = run.nsp + name;
    await run.command("create", { nsp: nsp.split("?")[0] });
    const client = run.client(name, { nsp });
    await Promise.race([client.connected(), client.refused()]).catch(() => {});
    if (client.socket.connected) client.emit("echo", name);
    await run.settle();
    out[name] = client.events;
  }
  return out;
});

scenario("dynamic namespaces by pattern", async (run) => {
  await run.command("createParent", { kind: "regex", pattern: `^${run.nsp}-dyn-\\d+$`, use: ["user", "log:parent"] });
  const a = await run.connect("a", { nsp: `${run.nsp}-dyn-1`, auth: { user: "ann" } });
  const b = await run.connect("b", { nsp: `${run.nsp}-dyn-2` });
  const c = await run.connect("c", { nsp: `${run.nsp}-dyn-1` });
  const refused = run.client("refused", { nsp: `${run.nsp}-dyn-x` });
  await refused.refused();
  await run.command("emit", { nsp: `${run.nsp}-dyn-1`, event: "news", args: ["for one"] });
  a.emit("to-room", c.id, "hello");
  await run.settle();
  const fetched = await run.command("fetchSockets", { nsp: `${run.nsp}-dyn-1` });
  return run.transcript({ data: fetched.map((s) => s.data), created: (await run.command("namespaces")).filter((n) => n.startsWith(`${run.nsp}-dyn`)), bEvents: b.events });
});

scenario("dynamic namespaces by function", async (run) => {
  await run.command("createParent", { kind: "function", pattern: `${run.nsp}-fn` });
  await run.connect("a", { nsp: `${run.nsp}-fn-1`, auth: { user: 1 } });
  const denied = run.client("denied", { nsp: `${run.nsp}-fn-2`, auth: { deny: true } });
  await denied.refused();
  const other = run.client("other", { nsp: `${run.nsp}-other` });
  await other.refused();
  await run.connect("existing", { nsp: `${run.nsp}-fn-1`, auth: { deny: true } });
  await run.settle();
  return run.transcript({ created: (await run.command("namespaces")).filter((n) => n.startsWith(`${run.nsp}-`)) });
});

const cleanup = ["--cleanup-empty-child-namespaces"];

scenario("empty child namespaces are removed when asked for", { args: cleanup }, async (run) => {
  const children = async () => (await run.command("namespaces")).filter((n) => n.startsWith(`${run.nsp}-dyn`));
  await run.command("createParent", { kind: "regex", pattern: `^${run.nsp}-dyn-\\d+$` });
  const a = await run.connect("a", { nsp: `${run.nsp}-dyn-1` });
  const b = await run.connect("b", { nsp: `${run.nsp}-dyn-1` });
  const seen = [await children()];
  a.socket.disconnect();
  await run.waitDisconnect(a);
  seen.push(await children());
  b.socket.disconnect();
  await run.waitDisconnect(b);
  seen.push(await children());
  const again = await run.connect("again", { nsp: `${run.nsp}-dyn-1` });
  again.emit("echo", 1);
  await run.settle();
  seen.push(await children());
  return run.transcript({ seen });
});

scenario("a child namespace whose only client is refused is removed", { args: cleanup }, async (run) => {
  await run.command("createParent", { kind: "regex", pattern: `^${run.nsp}-dyn-\\d+$`, use: ["deny"] });
  const a = run.client("a", { nsp: `${run.nsp}-dyn-1` });
  await a.refused();
  await sleep(30);
  return run.transcript({ children: (await run.command("namespaces")).filter((n) => n.startsWith(`${run.nsp}-dyn`)) });
});

scenario("empty child namespaces stay by default", async (run) => {
  await run.command("createParent", { kind: "regex", pattern: `^${run.nsp}-dyn-\\d+$` });
  const a = await run.connect("a", { nsp: `${run.nsp}-dyn-1` });
  a.socket.disconnect();
  await run.waitDisconnect(a);
  return run.transcript({ children: (await run.command("namespaces")).filter((n) => n.startsWith(`${run.nsp}-dyn`)) });
});

scenario("namespace middlewares: order, data, refusal", async (run) => {
  await run.create({ use: ["log:first", "async", "log:second", "auth", "log:third"] });
  await run.connect("good", { auth: { token: "secret" } });
  const bad = run.client("bad", { auth: { token: "wrong" } });
  await bad.refused();
  await run.settle();
});

scenario("server middlewares hold for the main namespace alone", { namespace: "/", fresh: true }, async (run) => {
  await run.command("use", { use: ["log:first", "auth"] });
  await run.command("create", { nsp: "/other" });
  await run.connect("good", { auth: { token: "secret" } });
  const bad = run.client("bad");
  await bad.refused();
  await run.connect("other", { nsp: "/other" });
  await run.settle();
});

for (const kind of ["deny", "deny-plain"]) {
  scenario(`namespace middleware that refuses: ${kind}`, async (run) => {
    await run.create({ use: [kind, "log:never"] });
    const a = run.client("a");
    await a.refused();
    const main = run.client("main", { nsp: "/", manager: a });
    await main.connected();
    return { a: a.events, main: main.events };
  });
}

scenario("a refused client may try again with other credentials", async (run) => {
  await run.create({ use: ["auth"] });
  const a = run.client("a", { auth: { token: "wrong" } });
  await a.refused();
  a.socket.auth = { token: "secret" };
  a.socket.connect();
  await a.connected();
  a.emit("echo", "in");
  await run.settle();
});

scenario("an event emitted in a middleware arrives before the connection", async (run) => {
  await run.create({ use: ["emit-early", "async"] });
  await run.connect("a");
  await run.settle();
});

scenario("a room joined in a middleware is kept", async (run) => {
  await run.create({ use: ["join-early"] });
  const a = await run.connect("a");
  await run.command("emit", { to: ["early-room"], event: "news", args: [1] });
  await run.settle();
  return run.transcript({ rooms: await run.command("rooms", { socket: a.id }) });
});

scenario("a broadcast does not reach a client that is still in a middleware", async (run) => {
  await run.create({ use: ["join-early", "async", "async", "async"] });
  const a = run.client("a");
  await sleep(25);
  for (let i = 0; i < 3; i++) await run.command("emit", { to: ["early-room"], event: "too early", args: [] });
  await a.connected();
  await run.command("emit", { to: ["early-room"], event: "in time", args: [] });
  await run.settle();
  return { seen: a.events.filter((e) => e[0] !== "too early") };
});

for (const auth of [undefined, {}, { token: "t", nested: { list: [1, null, "x"] }, "\u00e9": "\u20ac" }]) {
  scenario(`auth payload ${JSON.stringify(auth)}`, async (run) => {
    await run.create();
    const a = await run.connect("a", { auth });
    return { auth: (await run.command("handshake", { socket: a.id })).auth };
  });
}

scenario("auth given by a function", async (run) => {
  await run.create();
  const a = await run.connect("a", { auth: (cb) => setTimeout(() => cb({ user: 5 }), 10) });
  return { auth: (await run.command("handshake", { socket: a.id })).auth };
});

scenario("the handshake", async (run) => {
  await run.create();
  const a = await run.connect("a", { query: { x: "1", y: "\u20ac &=", list: ["a", "b"] }, extraHeaders: { "X-Custom": "v\u00e4lue".normalize(), "X-Empty": "", Cookie: "a=1; b=2" } });
  const h = await run.command("handshake", { socket: a.id });
  const fresh = Math.abs(Date.now() - h.issued) < 60000;
  const timed = Math.abs(Date.parse(h.time) - h.issued) < 2000;
  const port = String(run.server.addr.port);
  for (const name of ["sec-websocket-key"]) if (name in h.headers) h.headers[name] = "(random)";
  const url = h.url.replace(/([?&])t=[^&]*/, "$1t=(random)");
  const query = { ...h.query, t: "t" in h.query ? "(random)" : undefined };
  h.headers.host = h.headers.host.replace(port, "PORT");
  return { keys: Object.keys(h).sort(), headers: h.headers, query, url, address: h.address, xdomain: h.xdomain, secure: h.secure, types: Object.fromEntries(Object.entries(h).map(([k, v]) => [k, typeof v])), fresh, timed };
});

scenario("the handshake of a client with an Origin", async (run) => {
  await run.create();
  const a = await run.connect("a", { extraHeaders: { Origin: "http://elsewhere.example" } });
  return { xdomain: (await run.command("handshake", { socket: a.id })).xdomain };
});

differential("handshakes that allowRequest refuses", { program: "scenario" }, async ({ addr, names }) => {
  const out = {};
  for (const message of ["go away", "\u0022quoted\u0022 <b>", ""]) {
    const headers = { "X-Refuse": message };
    const websocket = new FrameLog(addr, "/socket.io/?EIO=4&transport=websocket", { headers });
    out[message] = {
      polling: recordResponse(await request(addr, { target: "/socket.io/?EIO=4&transport=polling", headers })),
      websocket: await websocket.refusal(),
    };
    websocket.destroy();
  }
  const session = await PollingSession.open(addr, names, "sid", { path: "/socket.io/" });
  await session.post("40", { headers: { "X-Refuse": "asked at handshakes only" } });
  const [connect] = await session.packets({ headers: { "X-Refuse": "x" } });
  names.add(JSON.parse(connect.slice(2)).sid, "socket");
  return { ...out, connect };
});
