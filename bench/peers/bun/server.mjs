// Socket.IO on Bun, with the engine made for it and the events of `sockeye serve --app bench`. Environment: PORT.
import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";
import { register } from "../node/events.mjs";

const io = new Server();
const engine = new Engine({ path: "/socket.io/" });
io.bind(engine);
register(io, () => Bun.gc(true));

Bun.serve({ hostname: "127.0.0.1", port: Number(process.env.PORT), ...engine.handler() });
