// Nodes behind nginx that gives them requests in turns die, come back under their names, and freeze, while stock clients connect and
// talk. Every client is connected again in the end, and hears. The reference cannot do without sticky sessions: expectations are typed in.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { io } from "socket.io-client";
import { Cluster } from "./lib/cluster.mjs";
import { sleep } from "./lib/sleep.mjs";

const clients = Number(process.env.FORWARD_CLIENTS ?? 150);
const atOnce = 25;
const patience = 90_000; // ms for all to be connected again
const frozen = 15_000; // ms
const kills = Number(process.env.FORWARD_KILLS ?? 6);

/** A client that reconnects by itself and asks until it is answered. */
function visitor(url, transports) {
  const socket = io(url, { forceNew: true, transports, reconnectionDelay: 200, reconnectionDelayMax: 1000, timeout: 8000 });
  const seen = { socket, connects: 0, drops: 0 };
  socket.on("connect", () => seen.connects++);
  socket.on("disconnect", (reason) => {
    seen.drops++;
    if (reason === "io server disconnect") socket.connect(); // said by a node that ends on purpose
  });
  return seen;
}

/** Resolves when the client has sent something and heard it again, over whatever connection it has by then. */
async function heard({ socket }, until) {
  for (let n = 0; Date.now() < until; n++) {
    const word = `${n}-${Math.random()}`;
    const answered = new Promise((resolve) => {
      const on = (said) => said === word && (socket.off("message-back", on), resolve(true));
      socket.on("message-back", on);
      setTimeout(() => (socket.off("message-back", on), resolve(false)), 2000);
    });
    if (socket.connected) socket.emit("message", word);
    if (await answered) return true;
  }
  return false;
}

async function eachOf(list, limit, f) {
  const queue = [...list];
  await Promise.all(
    Array.from({ length: limit }, async () => {
      while (queue.length) await f(queue.shift());
    }),
  );
}

/** Starts a node again as cluster.sh has started it. */
function restart(node) {
  const [program, ...args] = node.command;
  const child = spawn(program, args, { stdio: "ignore", env: process.env });
  node.pid = child.pid;
  return child;
}

function running(pid) {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    return false;
  }
}

// Kept connections between the nodes and to nginx end after a minute and a half, so that each takes two minutes.
for (const window of process.env.COMPAT_FULL ? ["100ms", ""] : ["100ms"]) {
  test(`kill -9 and SIGSTOP, ${window ? `handover within ${window}` : "relayed"}`, { timeout: 300_000 }, async (t) => {
    const serve = ["--app bench --ping-interval 2s --ping-timeout 4s", window && `--handover-window ${window}`].filter(Boolean).join(" ");
    const cluster = await Cluster.start({ SERVE: serve, ADAPTER: "sharded" });
    const again = [];
    const visitors = [];
    try {
      const nodes = [...cluster.nodes.values()];
      for (const node of nodes) node.command = readFileSync(`/proc/${node.pid}/cmdline`, "utf8").split("\0").slice(0, -1);
      const killing = (async () => {
        for (let n = 0; n < kills; n++) {
          await sleep(1000 + Math.random() * 3000);
          const node = nodes[Math.floor(Math.random() * nodes.length)];
          process.kill(node.pid, "SIGKILL");
          while (running(node.pid)) await sleep(20);
          await sleep(Math.random() * 500);
          again.push(restart(node));
        }
      })();
      for (let i = 0; i < clients; i += atOnce) {
        for (let n = i; n < Math.min(i + atOnce, clients); n++) {
          visitors.push(visitor(cluster.url, n % 4 ? ["polling", "websocket"] : ["polling"]));
        }
        await sleep(1000);
      }
      await killing;
      const victim = nodes[1];
      process.kill(victim.pid, "SIGSTOP");
      await sleep(frozen);
      process.kill(victim.pid, "SIGCONT");
      const deaf = [];
      const until = Date.now() + patience;
      await eachOf(visitors, 50, async (v) => (await heard(v, until)) || deaf.push(v.socket.id));
      t.diagnostic(`${visitors.reduce((n, v) => n + v.drops, 0)} connections lost, ${visitors.reduce((n, v) => n + v.connects, 0)} made`);
      assert.deepEqual(deaf, []);
      for (const { socket } of visitors) socket.disconnect();
      const open = () => nodes.map(({ pid }) => readdirSync(`/proc/${pid}/fd`).length);
      let left;
      for (const end = Date.now() + 150_000; Date.now() < end; await sleep(500)) {
        left = open();
        if (left.every((n) => n < 60)) break;
      }
      t.diagnostic(`descriptors at the end: ${left}`);
      assert.ok(left.every((n) => n < 60), `descriptors: ${left}`);
    } finally {
      for (const { socket } of visitors) socket.disconnect();
      for (const child of again) child.kill("SIGTERM");
      await cluster.stop();
    }
  });
}
