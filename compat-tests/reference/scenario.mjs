// The scenario server on the npm reference. It is told what to do by commands,
// one JSON object a line on stdin, answers each on stdout and logs there what
// happens: {"id":1,"result":...}, {"id":1,"error":"..."} and {"log":{...}}.
// It ends when stdin closes. cmd/scenario is the same program in Go.
import http from "node:http";
import readline from "node:readline";
import { Server } from "socket.io";
import { cluster } from "./adapters.mjs";
import { engineOptions, parseFlags } from "./flags.mjs";

const flags = parseFlags(process.argv.slice(2));
const { adapter, emitter } = await cluster(flags);
const httpServer = http.createServer((req, res) => res.writeHead(404).end());
const io = new Server(httpServer, {
  ...engineOptions(flags),
  ...(adapter && { adapter }),
  allowRequest: (req, callback) => callback(req.headers["x-refuse"] || null, !("x-refuse" in req.headers)),
  cleanupEmptyChildNamespaces: Boolean(flags.cleanupEmptyChildNamespaces),
  serveClient: flags.serveClient !== false,
});

const emitters = emitter?.(io);

const write = (object) => process.stdout.write(JSON.stringify(object) + "\n");
const log = (entry) => write({ log: entry });
const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

httpServer.listen(0, "127.0.0.1", () => process.stdout.write(`listening 127.0.0.1:${httpServer.address().port}\n`));

// Binary data crosses the command lines as {"$bin": "hex"}, dates as {"$date": ms}, what is not there as
// {"$undefined": true}, and what JSON.stringify would change as {"$json": "text"}.
function unwrap(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(unwrap);
  if ("$bin" in value) return Buffer.from(value.$bin, "hex");
  if ("$date" in value) return new Date(value.$date);
  if ("$undefined" in value) return undefined;
  if ("$json" in value) return JSON.parse(value.$json);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, unwrap(v)]));
}

function wrap(value) {
  if (Buffer.isBuffer(value)) return { $bin: value.toString("hex") };
  if (value === undefined || value === null || typeof value !== "object") return value ?? null;
  if (Array.isArray(value)) return value.map(wrap);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, wrap(v)]));
}

/** The names of rooms. To the reference 43 and "43" are two rooms, but a name is a text. */
const namesOf = (rooms) => [...new Set([...rooms].map(String))].sort();

const namespaceMiddlewares = {
  deny: () => {
    throw Object.assign(new Error("denied"), { data: { code: 1, list: [1, "2"] } });
  },
  "deny-plain": () => {
    throw new Error("no data");
  },
  async: () => later(20),
  auth: (socket) => {
    if (socket.handshake.auth.token !== "secret") throw Object.assign(new Error("not authorized"), { data: { content: "retry" } });
  },
  "emit-early": (socket) => void socket.emit("early", 1, Buffer.from([1])),
  "join-early": (socket) => void socket.join("early-room"),
  user: (socket) => {
    socket.data.user = socket.handshake.auth.user;
  },
};

function useMiddlewares(nsp, names = []) {
  for (const name of names) {
    const [kind, label] = name.split(":");
    const run = kind === "log" ? (socket) => log({ nsp: socket.nsp.name, event: "middleware", label }) : namespaceMiddlewares[kind];
    nsp.use((socket, next) => {
      Promise.resolve()
        .then(() => run(socket))
        .then(() => next(), next);
    });
  }
}

const packetMiddlewares = {
  block: (label) => ([event], next) => next(event === label ? new Error("blocked") : undefined),
  async: () => (packet, next) => setTimeout(next, 10),
};

function usePacketMiddlewares(socket, names = []) {
  for (const name of names) {
    const [kind, label] = name.split(":");
    socket.use(packetMiddlewares[kind](label));
  }
}

function serve(nsp, { use, packetUse, outgoing } = {}) {
  useMiddlewares(nsp, use);
  nsp.on("connection", (socket) => {
    const entry = (event, fields) => log({ nsp: socket.nsp.name, sid: socket.id, event, ...fields });
    entry("connection", { rooms: namesOf(socket.rooms) });
    usePacketMiddlewares(socket, packetUse);
    socket.onAny((name, ...args) => {
      if (name === "barrier") return;
      if (typeof args.at(-1) === "function") args[args.length - 1] = "(ack)";
      entry("packet", { name: String(name), args: wrap(args) });
    });
    if (outgoing) socket.onAnyOutgoing((name, ...args) => entry("outgoing", { name, args: wrap(args) }));
    socket.on("disconnecting", (reason) => entry("disconnecting", { reason, rooms: namesOf(socket.rooms) }));
    socket.on("disconnect", (reason) => entry("disconnect", { reason }));
    answerClients(socket);
  });
}

function answerClients(socket) {
  socket.on("barrier", (reply) => reply());
  socket.on("echo", (...args) => socket.emit("echo", ...args));
  socket.on("ack", (...args) => args.pop()(...args));
  socket.on("late-ack", (value, reply) => setTimeout(reply, 30, value));
  socket.on("ack-twice", (reply) => (reply("first"), reply("second")));
  socket.on("ask", async (question, reply) => reply(await socket.emitWithAck("question", question)));
  socket.on("to-room", (room, text) => socket.to(room).emit("room", room, text));
  socket.on("relay", (...args) => socket.broadcast.emit("relayed", ...args));
  socket.on("join", (room, reply) => (socket.join(room), reply?.()));
  socket.on("burst", (n) => {
    for (let i = 0; i < n; i++) socket.emit("item", i, i % 3 === 0 ? Buffer.from([i]) : "text");
  });
  socket.on("volatile-behind", () => (socket.emit("item", 1), socket.volatile.emit("item", 2)));
  socket.on("flood", (n, size) => {
    for (let i = 0; i < n; i++) socket.emit("mark", i, "x".repeat(size));
  });
  socket.on("leave-me", (close) => socket.disconnect(close));
}

const patterns = {
  regex: (pattern) => new RegExp(pattern),
  function: (prefix) => (name, auth, next) => setTimeout(() => next(null, name.startsWith(prefix) && auth?.deny !== true), 10),
};

/** What a command's selection and flags address: the namespace, from outside by an emitter, a socket, or everybody but a socket. */
function operator({ nsp, emitter, socket, broadcast, to = [], except = [], volatile, local, compress, timeout }) {
  let op = emitter ? emitters.of(nsp) : socket ? socketOf(nsp, socket) : io.of(nsp);
  if (broadcast) op = op.broadcast;
  if (to.length) op = op.to(to);
  if (except.length) op = op.except(except);
  if (volatile) op = op.volatile;
  if (local) op = op.local;
  if (compress !== undefined) op = op.compress(compress);
  if (timeout !== undefined) op = op.timeout(timeout);
  return op;
}

function socketOf(nsp, id) {
  const socket = io.of(nsp).sockets.get(id);
  if (!socket) throw new Error("no such socket");
  return socket;
}

const commands = {
  sync: () => true,
  create: (c) => serve(io.of(c.nsp), c),
  use: (c) => useMiddlewares(io.of(c.nsp), c.use),
  createParent: (c) => serve(io.of(patterns[c.kind](c.pattern)), c),
  namespaces: () => [...io._nsps.keys()].sort(),
  emit: (c) => void operator(c).emit(c.event, ...unwrap(c.args ?? [])),
  emitAck: async (c) => wrap(await operator(c).emitWithAck(c.event, ...unwrap(c.args ?? []))),
  broadcastAck: (c) =>
    new Promise((resolve) => {
      operator(c).emit(c.event, ...unwrap(c.args ?? []), (err, values) => resolve({ failed: Boolean(err), values: wrap(values) }));
    }),
  emitSeries: (c) => {
    for (let i = 0; i < c.count; i++) {
      const { args, ...selection } = c.series[i % c.series.length];
      operator({ ...c, ...selection }).emit(c.event, i, ...unwrap(args));
    }
  },
  fetchSockets: async (c) =>
    (await operator(c).fetchSockets()).map((s) => ({
      id: s.id,
      rooms: namesOf(s.rooms),
      data: s.data,
      handshake: c.details ? s.handshake : Object.keys(s.handshake).sort(),
    })),
  // What a port asks for: how many there are, and who, in the cluster and on this node.
  count: async (c) => (await operator(c).fetchSockets()).length,
  ids: async (c) => (await operator(c).fetchSockets()).map((s) => s.id).sort(),
  roomSize: (c) => io.of(c.nsp).adapter.rooms.get(c.to[0])?.size ?? 0,
  onRemote: async (c) => {
    const [remote] = await operator(c).fetchSockets();
    if (c.action === "emit") remote.emit(c.event, ...unwrap(c.args ?? []));
    if (c.action === "join") remote.join(c.rooms);
    if (c.action === "leave") remote.leave(c.rooms[0]);
    if (c.action === "disconnect") remote.disconnect(c.close);
  },
  join: (c) => void socketOf(c.nsp, c.socket).join(c.rooms),
  leave: (c) => c.rooms.forEach((room) => socketOf(c.nsp, c.socket).leave(room)),
  rooms: (c) => namesOf(socketOf(c.nsp, c.socket).rooms),
  allRooms: (c) => namesOf(io.of(c.nsp).adapter.rooms.keys()),
  // The rooms of all nodes, or null where the adapter cannot tell.
  clusterRooms: async (c) => {
    const found = await io.of(c.nsp).adapter.allRooms?.();
    return found ? namesOf(found) : null;
  },
  serverCount: (c) => io.of(c.nsp).adapter.serverCount(),
  sockets: (c) => [...io.of(c.nsp).sockets.keys()].sort(),
  socketsJoin: (c) => void operator(c).socketsJoin(c.rooms),
  socketsLeave: (c) => void operator(c).socketsLeave(c.rooms),
  disconnect: (c) => void socketOf(c.nsp, c.socket).disconnect(c.close),
  disconnectSockets: (c) => void operator(c).disconnectSockets(c.close),
  closeTransport: (c) => void socketOf(c.nsp, c.socket).conn.close(),
  handshake: (c) => socketOf(c.nsp, c.socket).handshake,
  setData: (c) => void (socketOf(c.nsp, c.socket).data[c.key] = c.value),
  watchServerSide: (c) =>
    void io.of(c.nsp).on(c.event, (...args) => {
      const reply = typeof args.at(-1) === "function" ? args.pop() : undefined;
      log({ nsp: c.nsp, event: "server side", args: wrap(args) });
      if ("reply" in c) reply?.(unwrap(c.reply));
    }),
  serverSideEmit: (c) => void operator(c).serverSideEmit(c.event, ...unwrap(c.args ?? [])),
  serverSideEmitAck: (c) =>
    new Promise((resolve) => {
      io.of(c.nsp).serverSideEmit(c.event, ...unwrap(c.args ?? []), (err, values) => resolve({ failed: Boolean(err), values: wrap(values) }));
    }),
  polluted: () => "polluted" in {},
  connections: () => io.engine.clientsCount,
  close: () => new Promise((resolve) => io.close(() => resolve())),
};

serve(io.of("/"));

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const command = JSON.parse(line);
  try {
    write({ id: command.id, result: (await commands[command.do](command)) ?? null });
  } catch (err) {
    write({ id: command.id, error: err.message });
  }
});
process.stdin.on("end", () => process.exit(0));
process.on("SIGTERM", () => process.exit(0));
