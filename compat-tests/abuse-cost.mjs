// What clients that send all they can cost one that behaves: the round trips of the latter and the memory of the server, without and with
// abusers, beside the reference. Not a test: node abuse-cost.mjs [abusers] [seconds] [events|large|acks]
import { fork } from "node:child_process";
import fs from "node:fs";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";
import { WebSocket } from "ws";
import { start } from "./test/lib/servers.mjs";

const packets = {
  events: '42["message","x"]',
  large: `42["message","${"x".repeat(20_000)}"]`,
  acks: '43123456["x"]',
};
const BACKLOG = 1 << 20;

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The process of the abusers: each writes whenever less than a megabyte of what it wrote waits, and reads the answers. */
async function abuse(url, count, kind) {
  let sent = 0;
  for (let i = 0; i < count; i++) {
    const ws = new WebSocket(`${url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
    ws.on("error", () => {});
    ws.on("open", () => ws.send("40"));
    const pour = () => {
      if (ws.readyState !== WebSocket.OPEN) return;
      for (let n = 0; n < 100 && ws.bufferedAmount < BACKLOG; n++, sent++) ws.send(packets[kind]);
      setImmediate(pour);
    };
    ws.on("message", (data) => {
      if (String(data).startsWith("40")) pour();
      if (String(data) === "2") ws.send("3");
    });
  }
  process.on("message", () => process.send(sent, () => process.exit(0)));
}

const status = (pid, field) => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;

/** Round trips of a client that sends every 20 ms, in milliseconds, sorted. */
async function roundTrips(client, seconds) {
  const times = [];
  const end = Date.now() + seconds * 1000;
  while (Date.now() < end) {
    const begun = process.hrtime.bigint();
    await client.timeout(60_000).emitWithAck("message-with-ack", "x").catch(() => {}); // counts as a minute
    times.push(Number(process.hrtime.bigint() - begun) / 1e6);
    await later(20);
  }
  return times.sort((a, b) => a - b);
}

const quantile = (times, q) => times[Math.min(times.length - 1, Math.floor(q * times.length))].toFixed(1);
const shown = (times) => `p50 ${quantile(times, 0.5)} p99 ${quantile(times, 0.99)} max ${quantile(times, 1)} ms (${times.length})`;

async function measure(side, args, { abusers, seconds, kind }) {
  const server = await start(side, "serve", ["--app", "conformance", ...args]);
  const client = io(server.url, { transports: ["websocket"], reconnection: false });
  try {
    await new Promise((resolve) => client.on("connect", resolve));
    await roundTrips(client, 2);
    const quiet = await roundTrips(client, seconds);
    const before = status(server.child.pid, "VmRSS");
    const child = fork(fileURLToPath(import.meta.url), ["--abuse", server.url, String(abusers), kind]);
    await later(1000);
    const loud = await roundTrips(client, seconds);
    const sent = await new Promise((resolve) => {
      child.on("message", resolve);
      child.send("stop");
    });
    const name = [side, ...args].join(" ");
    console.log(`${name.padEnd(26)} quiet ${shown(quiet)}; with ${abusers} abusers ${shown(loud)}; they wrote ${sent}; memory ${before.toFixed(0)} MB before, ${status(server.child.pid, "VmHWM").toFixed(0)} at most`);
  } finally {
    client.disconnect();
    await server.stop();
  }
}

if (process.argv[2] === "--abuse") {
  await abuse(process.argv[3], Number(process.argv[4]), process.argv[5]);
} else {
  const run = { abusers: Number(process.argv[2] ?? 20), seconds: Number(process.argv[3] ?? 10), kind: process.argv[4] ?? "events" };
  for (const [side, ...args] of [["reference"], ["sockeye", "--limits=public"], ["sockeye"]]) await measure(side, args, run);
}
