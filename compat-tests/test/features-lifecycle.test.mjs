// Every way a connection ends: the reasons both ends are told, and what is still readable then.
import { after } from "node:test";
import { PollingSession } from "./lib/engineclient.mjs";
import { PacketClient } from "./lib/packetclient.mjs";
import { recordResponse } from "./lib/rawhttp.mjs";
import { stopShared } from "./lib/servers.mjs";
import { scenario } from "./lib/scenario.mjs";
import { sleep } from "./lib/sleep.mjs";
import { differential } from "./lib/transcript.mjs";

after(stopShared);

async function inRooms(run) {
  await run.create();
  const a = await run.connect("a");
  await a.upgraded();
  await run.command("join", { socket: a.id, rooms: ["r1", "r2"] });
  await run.settle();
  return a;
}

async function ended(run, a) {
  await a.disconnected();
  await run.waitDisconnect(a);
  await run.command("sync");
  return run.transcript({ left: await run.command("sockets"), rooms: await run.command("allRooms") });
}

scenario("the client leaves the namespace", async (run) => {
  const a = await inRooms(run);
  a.socket.disconnect();
  return ended(run, a);
});

scenario("the client closes the connection", async (run) => {
  const a = await inRooms(run);
  a.socket.io.engine.close();
  return ended(run, a);
});

for (const close of [false, true]) {
  scenario(`the server disconnects the socket, close ${close}`, async (run) => {
    const a = await inRooms(run);
    await run.command("disconnect", { socket: a.id, close });
    const transcript = await ended(run, a);
    if (close) await new Promise((resolve) => (a.socket.io.engine.readyState === "closed" ? resolve() : a.socket.io.engine.once("close", resolve)));
    return { ...transcript, engine: a.socket.io.engine.readyState, active: a.socket.active };
  });

  scenario(`a handler disconnects its own socket, close ${close}`, async (run) => {
    const a = await inRooms(run);
    a.emit("leave-me", close);
    return ended(run, a);
  });

  scenario(`the server disconnects one of two namespaces, close ${close}`, async (run) => {
    const a = await inRooms(run);
    const main = run.client("main", { nsp: "/", manager: a });
    await main.connected();
    await run.command("disconnect", { socket: a.id, close });
    await a.disconnected();
    if (close) await main.disconnected();
    else main.emit("echo", "alive") && (await run.settle());
    return { a: a.events, main: main.events };
  });
}

scenario("the server closes the transport", async (run) => {
  const a = await inRooms(run);
  await run.command("closeTransport", { socket: a.id });
  return ended(run, a);
});

scenario("messages sent just before the server closes the transport arrive", async (run) => {
  const a = await inRooms(run);
  for (let i = 0; i < 5; i++) await run.command("emit", { event: "last words", args: [i, { $bin: "01" }] });
  await run.command("closeTransport", { socket: a.id });
  return ended(run, a);
});

scenario("the client comes back after the server closed the transport", async (run) => {
  await run.create();
  const a = await run.connect("a", { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 50 });
  await a.upgraded();
  await run.command("closeTransport", { socket: a.id });
  await a.reconnected();
  a.emit("echo", "again");
  await run.settle();
});

scenario("the client does not come back after the server disconnected it", async (run) => {
  await run.create();
  const a = await run.connect("a", { reconnection: true, reconnectionDelay: 20 });
  await a.upgraded();
  await run.command("disconnect", { socket: a.id, close: false });
  await a.disconnected();
  await sleep(150);
  return run.transcript({ active: a.socket.active });
});

scenario("the connection breaks", { only: ["websocket", "upgrade"] }, async (run) => {
  const a = await inRooms(run);
  a.socket.io.engine.transport.ws.terminate();
  return ended(run, a);
});

const heartbeat = ["--ping-interval", "300ms", "--ping-timeout", "600ms"];

scenario("the client stops answering pings", { args: heartbeat }, async (run) => {
  await run.create();
  const a = run.client("a");
  await a.connected();
  await a.upgraded();
  a.socket.io.engine._sendPacket = () => {};
  const { server, clients, ...rest } = await ended(run, a);
  // Over polling the client may find the session gone before it hears that it was closed.
  return run.mode === "polling" ? { server, ...rest } : { server, clients, ...rest };
});

scenario("a client that answers pings stays", { args: heartbeat }, async (run) => {
  await run.create();
  const a = await run.connect("a");
  await sleep(1500);
  a.emit("echo", "alive");
  await run.settle();
});

const invalid = {
  "a packet of an unknown type": "9",
  "an event that is no array": '2{"a":1}',
  "broken JSON": '2["a',
  "a reserved event name": '2["disconnect"]',
  "binary out of the blue": Buffer.from([1]),
  "too many attachments": `511-["a"]`,
  "a second connect": (nsp) => `0${nsp},`,
  "an event for a namespace that was not joined": '2/elsewhere,["a"]',
  "a connect error": (nsp) => `4${nsp},{"message":"x"}`,
};

for (const [name, data] of Object.entries(invalid)) {
  scenario(`the client sends ${name}`, { only: ["websocket", "polling"] }, async (run) => {
    const a = await inRooms(run);
    a.emit("echo", "before");
    await run.settle();
    a.socket.io.engine.write(typeof data === "function" ? data(run.nsp) : data);
    const transcript = await ended(run, a);
    return run.mode === "polling" ? sameReason(transcript) : transcript;
  });
}

/** The reason tells whether the client's next poll had arrived when the server closed, which is a race in both. */
function sameReason(transcript) {
  return JSON.parse(JSON.stringify(transcript).replaceAll("forced server close", "forced close"));
}

scenario("an engine packet that is invalid", { only: ["websocket"] }, async (run) => {
  const a = await inRooms(run);
  a.socket.io.engine.transport.ws.send("x");
  return ended(run, a);
});

scenario("a message over the size limit", { args: ["--max-http-buffer-size", "3000"] }, async (run) => {
  const a = await inRooms(run);
  a.emit("echo", "x".repeat(5000));
  const transcript = await ended(run, a);
  if (run.mode !== "polling") return transcript;
  // The reference ends the parked poll with a close packet, and the client tells the reason by which it hears of first, that or the 413.
  // Sockeye's poll says nothing of the end.
  for (const events of Object.values(transcript.clients)) {
    for (const event of events) if (event.disconnect === "transport close") event.disconnect = "transport error";
  }
  return transcript;
});

scenario("the server shuts down", { namespace: "/", fresh: true }, async (run) => {
  await run.command("create", { nsp: "/other" });
  const a = await run.connect("a");
  await a.upgraded();
  const b = run.client("b", { nsp: "/other", manager: a });
  await b.connected();
  await run.command("join", { socket: a.id, rooms: ["r1"] });
  run.command("close").catch(() => {});
  await Promise.all([a.disconnected(), b.disconnected()]);
  await Promise.all([run.waitDisconnect(a), run.waitDisconnect(b)]);
  const late = run.client("late");
  await late.refused();
  const { clients, server } = run.transcript();
  // Whether a poll is still answered before the connection breaks is a race in the reference.
  return run.mode === "polling" ? { server } : { server, clients, active: a.socket.active };
});

scenario("a client that the server's shutdown cut off tries again", { namespace: "/", fresh: true, only: ["websocket"] }, async (run) => {
  const a = await run.connect("a", { reconnection: true, reconnectionDelay: 20, reconnectionDelayMax: 40 });
  let attempts = 0;
  a.socket.io.on("reconnect_attempt", () => attempts++);
  run.command("close").catch(() => {});
  await a.disconnected();
  await sleep(200);
  const seen = { tried: attempts > 0, first: a.events.slice(0, 2) };
  a.socket.disconnect(); // or it may find another test's server on the same port
  return seen;
});

for (const [name, packets] of Object.entries({ "says nothing": [], "asks for an unknown namespace only": ["40/unknown,"], "is refused": ["40/refusing,"] })) {
  differential(`connectTimeout: a client that ${name}`, { program: "scenario", args: ["--connect-timeout", "300ms"], fresh: true }, async ({ addr, names, server }) => {
    server.send(JSON.stringify({ id: 1, do: "create", nsp: "/refusing", use: ["deny"] }));
    await new Promise((resolve) => (server.onLine = resolve));
    const client = await PacketClient.open(addr, names);
    const start = Date.now();
    const rest = await client.send(...packets).rest();
    const waited = Date.now() - start;
    return { rest, inTime: waited > 250 && waited < 2500 };
  });
}

differential("connectTimeout: a client that connects in time stays", { program: "scenario", args: ["--connect-timeout", "200ms"], fresh: true }, async ({ addr, names }) => {
  const client = await PacketClient.open(addr, names);
  client.send("40");
  const open = await client.next();
  await sleep(400);
  client.send('42["echo",1]');
  return { open, echo: await client.next() };
});

// What the ends above look like on the wire. Commands to the main namespace travel as events.
async function rawPolling(addr, names) {
  const session = await PollingSession.open(addr, names, "engine", { path: "/socket.io/" });
  await session.post("40");
  const [connect] = await session.packets();
  names.add(JSON.parse(connect.slice(2)).sid, "socket");
  return session;
}

for (const close of [false, true]) {
  differential(`on the wire: disconnect over polling, close ${close}`, { program: "scenario" }, async ({ addr, names }) => {
    const parked = await rawPolling(addr, names);
    const poll = await parked.parkPoll();
    const post = recordResponse(await parked.post(`42["leave-me",${close}]`));
    const first = recordResponse(await poll.done);
    const out = { post, first, known: await parked.known() };
    const late = await rawPolling(addr, names);
    await late.post(`42["leave-me",${close}]`);
    await sleep(20);
    out.late = { known: await late.known(), poll: recordResponse(await late.poll()), then: await late.known() };
    return out;
  });

  differential(`on the wire: disconnect over websocket, close ${close}`, { program: "scenario" }, async ({ addr, names }) => {
    const client = await PacketClient.open(addr, names);
    client.send("40");
    await client.next();
    client.send(`42["leave-me",${close}]`);
    if (close) return client.rest();
    const packets = [await client.next()];
    client.send("40");
    return { packets, again: await client.next() };
  });
}

differential("on the wire: invalid packets over polling", { program: "scenario" }, async ({ addr, names }) => {
  const out = {};
  for (const packet of ["49", '42["disconnect"]', '42{"a":1}', "bAQI=", '451-["a",{"_placeholder":true,"num":0}]\x1e42["a"]']) {
    const session = await rawPolling(addr, names);
    const poll = await session.parkPoll();
    const post = recordResponse(await session.post(packet));
    out[packet] = { post, poll: recordResponse(await poll.done), known: await session.known() };
  }
  return out;
});
