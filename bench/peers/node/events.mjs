// The events of `sockeye serve --app bench`, for Node and for Bun.
import { Worker } from "node:worker_threads";

// register has io answer them; collect collects garbage.
export function register(io, collect) {
  const computing = new Computing();
  io.on("connection", (socket) => {
    socket.on("join", async (room, ack) => {
      await socket.join(room);
      ack();
    });
    socket.on("leave", async (room, ack) => {
      await socket.leave(room);
      ack();
    });
    // A user is a room: there is no directory here.
    socket.on("login", async (user, ack) => {
      await socket.join(user);
      ack();
    });
    socket.on("tell", (user, payload) => io.to(user).emit("msg", payload));
    socket.on("message", (...args) => socket.emit("message-back", ...args));
    socket.on("direct", (room, payload) => io.to(room).emit("msg", payload));
    socket.on("bcast", (n, payload, ack) => {
      for (let i = 0; i < n; i++) io.to("room").emit("msg", payload);
      ack();
    });
    socket.on("compute", async (n, ack) => ack(await computing.set(n)));
    socket.on("gc", (ack) => {
      collect();
      ack();
    });
  });
}

// Computing is work beside the clients. It has threads of its own: on the one of the events, nothing else would be done at all.
class Computing {
  workers = [];
  done = new BigInt64Array(new SharedArrayBuffer(8));

  // set has n threads compute, in place of those before, and returns how much those have done.
  async set(n) {
    await Promise.all(this.workers.map((worker) => worker.terminate()));
    this.workers = Array.from({ length: n }, () => new Worker(new URL("compute.mjs", import.meta.url), { workerData: this.done }));
    return Number(Atomics.exchange(this.done, 0, 0n));
  }
}
