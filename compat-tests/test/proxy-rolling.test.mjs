// A rolling restart: three nodes behind nginx that gives them requests in turns are restarted with SIGTERM one after the other, while
// stock clients publish all the time. Every client is connected again within seconds and by itself, the nodes that stay are not
// overrun, and what is lost is counted. Node.js has no drain to compare with: expectations are typed in.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { io } from "socket.io-client";
import { Cluster } from "./lib/cluster.mjs";
import { sleep } from "./lib/sleep.mjs";

const clients = Number(process.env.ROLLING_CLIENTS ?? 60);
const rate = Number(process.env.ROLLING_RATE ?? 15); // connections that a node closes in a second
const every = Number(process.env.ROLLING_EVERY ?? 100); // ms between two messages of a client
const longest = 10_000; // ms that a client may be away; the first retry of stock clients comes after 0.5 to 1.5 s

/** A client that sends numbers all the time, and notes which come back, and how long it was away. */
class Publisher {
  sent = 0;
  back = new Set();
  away = []; // ms
  joins = []; // [time, tag of the node]
  reasons = new Map();

  constructor(url, transports) {
    this.socket = io(url, { forceNew: true, transports });
    this.socket.on("connect", () => {
      if (this.since !== undefined) this.away.push(performance.now() - this.since);
      this.since = undefined;
      this.joins.push([performance.now(), this.socket.io.engine.id.slice(0, 4)]);
    });
    this.socket.on("disconnect", (reason) => {
      this.since = performance.now();
      this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
    });
    this.socket.on("message-back", (n) => {
      assert.ok(!this.back.has(n), `message ${n} came twice`);
      this.back.add(n);
    });
    this.timer = setInterval(() => this.socket.connected && this.socket.emit("message", this.sent++), every);
  }

  /** Ends the sending, and waits until what was sent has come back, as far as it does. */
  async settle() {
    clearInterval(this.timer);
    const last = this.sent++;
    this.socket.emit("message", last);
    for (let n = 0; !this.back.has(last) && n < 400; n++) await sleep(50);
    return this.back.has(last);
  }
}

/** Ends a node with SIGTERM and starts it again as cluster.sh has started it. Returns what it left with, and after how long. */
async function restart(node) {
  const began = performance.now();
  process.kill(node.pid, "SIGTERM");
  while (running(node.pid)) await sleep(20);
  const took = performance.now() - began;
  const [program, ...args] = node.command;
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"], env: process.env });
  node.pid = child.pid;
  await new Promise((resolve, reject) => {
    child.stderr.on("data", (data) => String(data).includes("msg=listening") && resolve());
    child.once("exit", (code) => reject(new Error(`a node ended again with ${code}`)));
  });
  return { child, took };
}

function running(pid) {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    return false;
  }
}

/** The most sessions that one node has got within a second of a time span. */
function busiest(joins, from, to) {
  let most = 0;
  for (const tag of new Set(joins.map(([, tag]) => tag))) {
    const times = joins.filter(([at, on]) => on === tag && at >= from && at <= to).map(([at]) => at).sort((a, b) => a - b);
    for (let first = 0, next = 0; next < times.length; next++) {
      while (times[next] - times[first] > 1000) first++;
      most = Math.max(most, next - first + 1);
    }
  }
  return most;
}

test("a rolling restart with SIGTERM", { timeout: 240_000 }, async (t) => {
  const cluster = await Cluster.start({ SERVE: `--app bench --drain-rate ${rate}`, ADAPTER: "sharded" });
  const children = [];
  const publishers = [];
  try {
    const nodes = [...cluster.nodes.values()];
    for (const node of nodes) node.command = readFileSync(`/proc/${node.pid}/cmdline`, "utf8").split("\0").slice(0, -1);
    for (let n = 0; n < clients; n++) {
      publishers.push(new Publisher(cluster.url, [["polling", "websocket"], ["websocket"], ["polling"]][n % 3]));
      if (n % 20 === 19) await sleep(200);
    }
    while (!publishers.every(({ socket }) => socket.connected)) await sleep(20);
    const from = performance.now();
    let draining = 0; // ms
    for (const node of nodes) {
      const { child, took } = await restart(node);
      children.push(child);
      draining += took;
      t.diagnostic(`a node was empty and ended after ${Math.round(took)} ms`);
      await sleep(2000); // the last clients come back
    }
    const until = performance.now();
    const deaf = (await Promise.all(publishers.map((p) => p.settle()))).filter((ok) => !ok).length;
    const away = publishers.flatMap((p) => p.away).sort((a, b) => a - b);
    const sent = publishers.reduce((n, p) => n + p.sent, 0);
    const lost = sent - publishers.reduce((n, p) => n + p.back.size, 0);
    const most = busiest(publishers.flatMap((p) => p.joins), from, until);
    t.diagnostic(`${away.length} times a client was away, ${Math.round(away[away.length >> 1])} ms in the middle, ${Math.round(away.at(-1))} ms at most`);
    t.diagnostic(`${lost} of ${sent} messages did not come back; at most ${most} clients a second came to one node`);
    const reasons = new Map();
    for (const p of publishers) for (const [reason, n] of p.reasons) reasons.set(reason, (reasons.get(reason) ?? 0) + n);
    t.diagnostic(`reasons: ${[...reasons].map(([reason, n]) => `${reason} ${n}`).join(", ")}`);
    assert.equal(deaf, 0, "clients that hear nothing any more");
    assert.ok(away.length >= clients * 0.9, `only ${away.length} times was a client away`);
    assert.ok(away.at(-1) < longest, `a client was away for ${away.at(-1)} ms`);
    assert.ok(!reasons.has("io server disconnect"), "a client was told to stay away");
    assert.ok(draining > (700 * away.length) / rate, `${away.length} connections were closed within ${draining} ms`);
    assert.ok(lost <= 4 * away.length, `${lost} messages were lost`);
    assert.ok(most <= 2 * rate, `${most} clients came to one node within a second`);
  } finally {
    for (const p of publishers) {
      clearInterval(p.timer);
      p.socket.disconnect();
    }
    await Promise.all(children.map((child) => (child.kill("SIGTERM"), child.exitCode ?? once(child, "exit"))));
    await cluster.stop();
  }
});
