// The Node reference with the events of `sockeye serve --app bench`, set up as its documentation advises for load.
// Environment: PORT; CERT and KEY (files) for TLS; REDIS (a URL) for a node of a cluster, with the classic
// adapter unless ADAPTER is "sharded".
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { Server } from "socket.io";
import { register } from "./events.mjs";

const { CERT, KEY } = process.env;
const httpServer = CERT ? https.createServer({ cert: readFileSync(CERT), key: readFileSync(KEY) }) : http.createServer();
// RECOVERY: "1" lets clients go on where their connection was lost.
const io = new Server(httpServer, process.env.RECOVERY ? { connectionStateRecovery: {} } : {});

if (process.env.REDIS) {
  const { createClient } = await import("redis");
  const { createAdapter, createShardedAdapter } = await import("@socket.io/redis-adapter");
  const publisher = createClient({ url: process.env.REDIS });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  io.adapter(process.env.ADAPTER === "sharded" ? createShardedAdapter(publisher, subscriber) : createAdapter(publisher, subscriber));
}

// Frees the first request of each session, see "Performance tuning" in the Socket.IO documentation.
io.engine.on("connection", (rawSocket) => {
  rawSocket.request = null;
});

register(io, () => global.gc());

httpServer.listen(Number(process.env.PORT), "127.0.0.1");
