// Order: numbered events, text and binary, from many goroutines to one npm client that upgrades meanwhile.
import { after, test } from "node:test";
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { io } from "socket.io-client";

const root = fileURLToPath(new URL("../..", import.meta.url));
const EMITTERS = 16;
const EVENTS = 400;

const build = path.join(root, "bin", "compat-order");
let server;

/** Builds and starts compat-tests/cmd/order; resolves with its URL. */
async function start() {
  await promisify(execFile)("go", ["build", "-o", build, "./compat-tests/cmd/order"], { cwd: root });
  server = spawn(build, ["--emitters", `${EMITTERS}`, "--events", `${EVENTS}`], { stdio: ["pipe", "pipe", "ignore"] });
  const [line] = await once(readline.createInterface({ input: server.stdout }), "line");
  return `http://${/^listening (\S+)$/.exec(line)[1]}`;
}

after(async () => {
  if (!server) return;
  server.stdin.end(); // which ends it
  if (server.exitCode === null) await once(server, "exit");
});

/** Bytes that tell which event an attachment belongs to; the server makes the same. */
function payload(sender, number) {
  const b = Buffer.alloc(8 + ((number * 7) % 2000), "x");
  b.writeUInt32BE(sender, 0);
  b.writeUInt32BE(number, 4);
  return b;
}

const url = start();

for (const mode of ["unicast", "broadcast"]) {
  test(`per-sender order through the upgrade: ${mode}`, async () => {
    const socket = io(await url, { forceNew: true, reconnection: false, transports: ["polling", "websocket"], auth: { mode } });
    const next = new Array(EMITTERS).fill(0);
    let received = 0;
    const over = { polling: 0, websocket: 0 };
    let sent = 0;
    let acked = 0;
    const finished = new Promise((resolve, reject) => {
      socket.on("connect_error", reject);
      socket.on("disconnect", (reason, details) => reject(new Error(`disconnected: ${reason} ${details?.description ?? ""}`)));
      const step = () => received === EMITTERS * EVENTS && acked === sent && resolve();
      socket.on("n", (sender, number, attachment) => {
        try {
          assert.equal(number, next[sender]++, `sender ${sender}`);
          if (number % 3 === 0) assert.equal(attachment, undefined);
          else assert.ok(payload(sender, number).equals(attachment), `attachment of ${sender}/${number}`);
        } catch (err) {
          reject(err);
        }
        received++;
        // Something in the other direction, numbered too: the server checks it and counts what it got.
        if (received % 50 === 0) {
          const n = sent++;
          socket.emit("up", n, n % 2 ? payload(0, n) : null, (count) => {
            if (count !== n + 1) reject(new Error(`event ${n} came as number ${count}`));
            acked++;
            step();
          });
        }
        step();
      });
      // The server emits from the connection on, lets the websocket in when some events are out, and keeps the last ones
      // until it hears of the upgrade.
      // Counted where they arrive: the socket hears of them later, perhaps after the upgrade.
      socket.io.engine.on("data", (data) => {
        if (typeof data === "string" && data[0] !== "0") over[socket.io.engine.transport.name]++;
      });
      // The engine may have upgraded before the socket says that it has connected; what it emits before then waits.
      socket.io.engine.once("upgrade", () => socket.emit("upgraded"));
    });
    try {
      await finished;
      assert.equal(socket.io.engine.transport.name, "websocket");
      assert.ok(over.polling > 0, "nothing came over polling");
      assert.ok(over.websocket > 0, "nothing came over websocket");
    } finally {
      socket.off("disconnect");
      socket.close();
    }
  });
}
