// Rows of the matrix: acknowledgements, and what one node asks of the sockets of all.
import { until } from "./lib/mixed.mjs";

const byText = (x, y) => (JSON.stringify(x) < JSON.stringify(y) ? -1 : 1);

/** A broadcast with acknowledgements; answers come in no particular order. */
async function ask(c, fields) {
  const { failed, values } = await c.do("broadcastAck", { event: "question", timeout: 8000, ...fields });
  return { failed, values: values.sort(byText) };
}

async function answering(c, reply) {
  const clients = await c.setUp("a1", "a2", "b1", "b2");
  for (const client of clients) client.answer("question", (...args) => reply(client.name, ...args));
  await c.join(clients[0], "red");
  await c.join(clients[2], "red");
  await c.join(clients[3], "far");
  return clients;
}

const values = {
  "text": "yes",
  "nothing": null,
  "number": 2 ** 53 - 1,
  "float": 0.1,
  "list": [[1, "two", null]],
  "object": { a: { b: [true] }, "\u00e9": "\u{1f600}" },
};

const ackRows = [
  {
    name: "ack of a broadcast: all answer",
    async run(c) {
      const [a1, , b1, b2] = await answering(c, (name, n) => `${name} ${n}`);
      return {
        all: await ask(c, { args: [1] }),
        room: await ask(c, { args: [2], to: ["red"] }),
        elsewhere: await ask(c, { args: [3], to: ["far"] }),
        one: await ask(c, { args: [4], to: [b1.id] }),
        except: await ask(c, { args: [5], except: ["red", b2.id] }),
        broadcast: await ask(c, { args: [6], socket: a1.id, broadcast: true }),
      };
    },
  },
  {
    name: "ack of a broadcast: kinds of values",
    async run(c) {
      await answering(c, (name, kind) => (kind === "binary" ? Buffer.from(name) : kind === "nested" ? { name, list: [Buffer.from("x")] } : [values[kind]]));
      const found = {};
      for (const kind of [...Object.keys(values), "binary", "nested"]) found[kind] = await ask(c, { args: [kind, { $bin: "01" }], to: ["red"] });
      return found;
    },
  },
  {
    name: "ack of a broadcast: one does not answer",
    async run(c) {
      const silent = await c.setUp("a1", "b1", "b2");
      for (const client of silent.slice(0, 2)) client.answer("question", () => client.name);
      return { all: await ask(c, { timeout: 900 }) };
    },
  },
  {
    name: "ack of a broadcast: nobody there",
    async run(c) {
      await answering(c, () => "yes");
      return { room: await ask(c, { to: ["nobody's"] }), except: await ask(c, { except: ["red", "far"], to: ["red"] }) };
    },
  },
];

const controlRows = [
  {
    name: "socketsJoin, socketsLeave",
    async run(c) {
      const [a1, a2, b1, b2] = await c.setUp("a1", "a2", "b1", "b2");
      await c.do("socketsJoin", { rooms: ["all", "more"] });
      await c.inRoom("all", a1, a2, b1, b2);
      await c.do("socketsJoin", { to: ["all"], except: [b2.id], rooms: ["some"] });
      await c.do("socketsLeave", { to: [b1.id, a1.id], rooms: ["more", "nobody's"] });
      await c.inRoom("some", a1, a2, b1);
      await c.notInRoom("more", a1, b1);
      await c.flush();
      const before = await Promise.all([a1, a2, b1, b2].map((client) => c.rooms(client)));
      await c.do("socketsLeave", { except: ["more"], rooms: ["all"] });
      await c.notInRoom("all", a1, b1);
      await c.flush();
      return { before, after: await Promise.all([a1, a2, b1, b2].map((client) => c.rooms(client))) };
    },
  },
  {
    name: "disconnectSockets(false)",
    async run(c) {
      const [a1, , b1] = await c.setUp("a1", "a2", "b1", "b2");
      await c.do("disconnectSockets", { to: [a1.id, b1.id], close: false });
      await gone(c, a1, b1);
      await c.do("emit", { event: "still here" });
      await c.flush();
      return { open: [a1, b1].map((client) => client.socket.io.engine.readyState) };
    },
  },
  {
    name: "disconnectSockets(true)",
    async run(c) {
      const [a1, a2, b1, b2] = await c.setUp("a1", "a2", "b1", "b2");
      await c.join(b1, "red");
      await c.do("disconnectSockets", { to: ["red"], except: [b2.id], close: true });
      await gone(c, b1);
      await c.do("emit", { event: "still here" });
      await c.flush();
      await c.do("disconnectSockets", { close: true });
      await gone(c, a1, a2, b2);
      await until("every connection is closed", () => [a1, a2, b1, b2].every((client) => client.socket.io.engine.readyState === "closed"));
    },
  },
];

async function gone(c, ...clients) {
  await Promise.all(clients.map((client) => client.disconnected()));
  await Promise.all(clients.map((client) => (c.from.clients.includes(client) ? c.from : c.to).waitDisconnect(client)));
}

const fetchRows = [
  {
    name: "fetchSockets",
    async run(c) {
      const [a1, , b1] = await c.setUp("a1", "a2", "b1", "b2");
      await c.join(a1, "red");
      await c.join(b1, "red", "blue");
      const fetch = (selection) => c.do("fetchSockets", selection);
      return {
        all: await fetch({}),
        room: await fetch({ to: ["red"] }),
        except: await fetch({ except: ["blue"] }),
        one: await fetch({ to: [b1.id] }),
        nobody: await fetch({ to: ["nobody's"] }),
        local: await fetch({ local: true }),
        broadcast: await fetch({ socket: a1.id, broadcast: true, to: ["red"] }),
      };
    },
  },
  {
    name: "number and ids of sockets",
    async run(c) {
      const [a1, , b1] = await c.setUp("a1", "a2", "b1", "b2");
      await c.join(a1, "red");
      await c.join(b1, "red", "blue");
      const found = {};
      for (const [name, selection] of Object.entries({
        all: {}, room: { to: ["red"] }, two: { to: ["red", "blue"] }, except: { to: ["red"], except: ["blue"] },
        one: { to: [b1.id] }, nobody: { to: ["nobody's"] }, local: { local: true }, others: { socket: a1.id, broadcast: true },
      })) {
        found[name] = [await c.do("count", selection), await c.do("ids", selection)];
      }
      for (const room of ["red", "blue", b1.id, "nobody's"]) {
        found[`here ${room === b1.id ? "b1" : room}`] = [await c.from.command("roomSize", { to: [room] }), await c.to.command("roomSize", { to: [room] })];
      }
      return found;
    },
  },
  {
    name: "fetchSockets: handshake and data",
    async run(c) {
      await c.setUp();
      const extraHeaders = { "X-Thing": "a thing", "Cookie": "one=1; two=\u00e9", "Origin": "http://example.com" };
      const auth = { token: "secret", nested: { list: [1, null, "\u{1f600}"] } };
      for (const name of ["a1", "b1"]) {
        const client = await c.connect(name, { auth, extraHeaders, query: { user: "Zo\u00eb", empty: "" } });
        const node = name === "a1" ? c.from : c.to;
        await node.command("setData", { socket: client.id, key: "user", value: { name, list: [1.5, null, true, "\u00e9"], deep: { deeper: {} } } });
        await node.command("setData", { socket: client.id, key: "count", value: 3 });
      }
      await c.connect("b2");
      const found = await c.do("fetchSockets", { details: true });
      return { sockets: found.map((socket) => ({ ...socket, handshake: shape(socket.handshake) })) };
    },
  },
  {
    name: "a fetched socket: emit, join, leave, disconnect",
    async run(c) {
      const [, b1, b2] = await c.setUp("a1", "b1", "b2");
      const act = (action, fields) => c.do("onRemote", { to: [b1.id], action, ...fields });
      await act("emit", { event: "hello", args: [1, { $bin: "01" }, null] });
      await act("join", { rooms: ["x", "y"] });
      await c.inRoom("y", b1);
      await act("leave", { rooms: ["x"] });
      await c.notInRoom("x", b1);
      await c.flush();
      const rooms = [await c.rooms(b1), await c.rooms(b2)];
      await act("disconnect", { close: true });
      await gone(c, b1);
      await c.flush();
      return { rooms };
    },
  },
  {
    name: "allRooms",
    note: "Between Node nodes only the classic adapter lists the rooms of other nodes; for the others the expectation is what each node says of itself. Go nodes list them in every mode.",
    async run(c) {
      const [a1, b1] = await c.setUp("a1", "b1");
      await c.join(a1, "red", "only a");
      await c.join(b1, "red", "only b", "\u00e9");
      const rooms = (await c.do("clusterRooms")) ?? [...(await c.from.command("allRooms")), ...(await c.to.command("allRooms"))];
      return { rooms: [...new Set(rooms)].sort() };
    },
  },
];

/** A handshake with what belongs to one connection replaced by its form. */
function shape({ headers, time, issued, url, query, ...rest }) {
  const { host, "sec-websocket-key": key, ...others } = headers;
  return {
    ...rest,
    headers: { ...others, host: /^127\.0\.0\.1:\d+$/.test(host), key: typeof key },
    time: /^\w{3} \w{3} \d\d \d{4} \d\d:\d\d:\d\d GMT[+-]\d{4} \(.+\)$/.test(time) && Math.abs(Date.parse(time) - issued) < 1000,
    issued: Number.isInteger(issued),
    url: url.replace(/\bt=[^&]*/, "t="),
    query: { ...query, ...(query.t && { t: typeof query.t }) },
  };
}

const kinds = [["text", 1, null, { a: [true] }], [], [{ $bin: "0102" }], [{ file: { $bin: "ff" }, list: [{ $bin: "" }] }, "after"], ["\u00e9 \u{1f600} \u2028", 2 ** 53 - 1, 0.1]];

const serverSideRows = [
  {
    name: "serverSideEmit",
    async run(c) {
      await c.setUp();
      await Promise.all([c.from, c.to].map((node) => node.command("watchServerSide", { event: "notice" })));
      for (const args of kinds) await c.do("serverSideEmit", { event: "notice", args });
      await c.do("serverSideEmit", { event: "unheard", args: [1] });
      await c.do("serverSideEmit", { event: "notice", args: ["last"] });
      await c.to.waitLog((e) => e.event === "server side" && e.args[0] === "last");
    },
  },
  {
    name: "serverSideEmit with ack",
    async run(c) {
      await c.setUp();
      const replies = { text: "yes", nothing: null, number: 1.5, list: [1, [2]], object: { "\u00e9": null }, binary: { $bin: "0102" }, nested: { b: { $bin: "03" } } };
      const found = {};
      for (const [event, reply] of Object.entries(replies)) {
        await Promise.all([c.from, c.to].map((node) => node.command("watchServerSide", { event, reply })));
        found[event] = await c.do("serverSideEmitAck", { event, args: [1, { $bin: "0a" }] });
      }
      return found;
    },
  },
  {
    name: "serverSideEmit with ack: no answer",
    patient: true,
    async run(c) {
      await c.setUp();
      await c.to.command("watchServerSide", { event: "silent" });
      return { silent: await c.do("serverSideEmitAck", { event: "silent" }) };
    },
  },
];

export const callRows = [...ackRows, ...controlRows, ...fetchRows, ...serverSideRows];
