// A node of the clusters in internal/chaos on the npm reference: the program of internal/chaos/node_test.go, as far as
// TestOperator and TestAcksOnCluster ask it. Arguments: name, address of Redis (several, with commas between them, are a Redis
// Cluster), flavour (pubsub, sharded or streams).
import http from "node:http";
import { Server } from "socket.io";
import { cluster } from "./adapters.mjs";

// What the adapters publish while the connection to Redis breaks is rejected, and they do not catch it.
process.on("unhandledRejection", (error) => console.error("not caught:", error.message));

const [name, address, flavour] = process.argv.slice(2);

const { adapter } = await cluster({ redis: address.split(",").map((one) => `redis://${one}`).join(","), adapter: flavour });
const io = new Server({ adapter });
io.on("connection", (socket) => {
  socket.data.user = socket.handshake.auth.user;
  socket.join(socket.data.user);
  socket.emit("ready");
  socket.on("send", (message, reply) => {
    io.to(message.to).emit("receive", message);
    reply("");
  });
});
io.on("who", (reply) => reply(name));

const requests = {
  "/fetch": async () => ({ values: (await io.fetchSockets()).map((socket) => socket.data.user) }),
  "/count": async () => ({ expected: await io.of("/").adapter.serverCount() }),
};

const server = http.createServer(async (req, res) => {
  const answer = await requests[req.url]?.().catch((error) => ({ error: String(error) }));
  res.writeHead(answer ? 200 : 404, { "Content-Type": "application/json" }).end(JSON.stringify(answer ?? {}));
});
io.attach(server);
server.listen(0, "127.0.0.1", () => console.log(`listening 127.0.0.1:${server.address().port}`));
process.stdin.resume().on("end", () => process.exit(0));
