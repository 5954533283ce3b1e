// The npm reference behind the command line of `sockeye serve`: the apps engine, conformance and chat, and the seed, which
// is the chat as the shortest Node programs have it.
import http from "node:http";
import { instrument } from "@socket.io/admin-ui";
import { Server as EngineServer } from "engine.io";
import { Server } from "socket.io";
import { cluster } from "./adapters.mjs";
import { engineOptions, parseFlags } from "./flags.mjs";

const flags = parseFlags(process.argv.slice(2));
const apps = { engine, conformance, chat, seed };
const { adapter } = await cluster(flags);

const httpServer = http.createServer((req, res) => res.writeHead(404).end("404 page not found\n"));
(apps[flags.app] ?? chat)();
httpServer.listen(0, "127.0.0.1", () => console.log(`listening 127.0.0.1:${httpServer.address().port}`));
process.stdin.resume().on("end", () => process.exit(0));
process.on("SIGTERM", () => process.exit(0));

function engine() {
  const server = new EngineServer(engineOptions(flags));
  server.attach(httpServer, { path: flags.path ?? "/engine.io" });
  server.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
}

function socketServer() {
  const opts = { ...engineOptions(flags), ...(adapter && { adapter }) };
  if (flags.path) opts.path = flags.path;
  const io = new Server(httpServer, opts);
  if (flags.adminUiUser) {
    instrument(io, {
      auth: { type: "basic", username: flags.adminUiUser, password: flags.adminUiPasswordHash },
      mode: flags.adminUiMode ?? "production", readonly: flags.adminUiReadonly, serverId: flags.nodeName,
    });
  }
  return io;
}

function conformance() {
  const io = socketServer();
  io.on("connection", (socket) => {
    socket.emit("auth", socket.handshake.auth);
    socket.on("message", (...args) => socket.emit("message-back", ...args.filter((a) => typeof a !== "function")));
    socket.on("message-with-ack", (...args) => args.pop()(...args));
  });
  io.of("/custom").on("connection", (socket) => socket.emit("auth", socket.handshake.auth));
}

// The chat as Node programs write it: a user is a room, fetchSockets tells who is there.
function chat() {
  const io = socketServer();
  io.on("connection", (socket) => {
    socket.on("login", (userID, reply) => {
      const user = String(userID);
      if (socket.data.user) socket.leave(socket.data.user);
      socket.data.user = user;
      socket.join(user);
      reply?.({ user });
    });
    socket.on("join", (room, reply) => {
      socket.join(room);
      reply?.({ room });
    });
    socket.on("send", async ({ to, message }, reply) => {
      const isRoom = String(to).startsWith("#");
      const target = io.to(String(to)).except(isRoom ? socket.id : []);
      const devices = (await target.fetchSockets()).length;
      target.emit("receive", message, { from: socket.data.user, ...(isRoom && { room: to }) });
      reply?.({ online: devices > 0, devices });
    });
  });
}

function seed() {
  const io = socketServer();
  io.on("connection", (socket) => {
    socket.on("login", (userID) => socket.join(userID));
    socket.on("send", ({ to, message }) => io.to(to).emit("receive", message));
  });
}
