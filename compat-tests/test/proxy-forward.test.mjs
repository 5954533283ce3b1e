// Three nodes behind nginx that gives them requests in turns: unchanged clients notice nothing, whatever node their requests land
// on. The reference answers such requests with 400; the expectations are therefore typed in.
import assert from "node:assert/strict";
import { test } from "node:test";
import { io as io3 } from "socket.io-client-3";
import { io as io4 } from "socket.io-client";
import { Cluster } from "./lib/cluster.mjs";

const connects = Number(process.env.FORWARD_CONNECTS ?? 240);
const atOnce = 40;
const each = 20; // messages of one client

const clients = { "socket.io-client 4": io4, "socket.io-client 3": io3 };
const ways = { "polling only": ["polling"], "polling, then websocket": ["polling", "websocket"] };

/** One client: it sends from the first moment on, through its upgrade, and gets back what it sent. Returns what went wrong. */
function visit(io, url, transports) {
  return new Promise((resolve) => {
    const socket = io(url, { forceNew: true, transports, reconnection: false });
    const got = [];
    const wrong = [];
    let upgraded = transports.length === 1;
    const end = () => {
      clearTimeout(timer);
      socket.off();
      socket.disconnect();
      const expected = [...Array(each).keys()];
      if (JSON.stringify(got) !== JSON.stringify(expected)) wrong.push(`sent 0 to ${each - 1}, got ${got}`);
      resolve(wrong);
    };
    const timer = setTimeout(() => (wrong.push("timeout"), end()), 30_000);
    const look = () => upgraded && got.length >= each && setImmediate(end); // what has come twice is there
    const send = (from, to) => {
      for (let i = from; i < to; i++) socket.emit("message", i);
    };
    // Half goes out when the socket is connected, half while the transport changes, if it still does.
    let upgrading = transports.length === 1;
    const rest = () => upgrading && socket.connected && send(each / 2, each);
    socket.on("connect", () => (send(0, each / 2), rest()));
    socket.io.engine.once("upgrading", () => ((upgrading = true), rest()));
    socket.io.engine.once("upgrade", () => ((upgraded = true), look()));
    socket.on("message-back", (i) => (got.push(i), look()));
    socket.on("connect_error", (error) => (wrong.push(`connect_error ${error.message} ${error.description ?? ""}`), end()));
    socket.on("disconnect", (reason) => (wrong.push(`disconnect ${reason}`), end()));
  });
}

/** As many clients as are wanted, some at a time. */
async function crowd(io, url, transports) {
  const faults = [];
  let left = connects;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (left-- > 0) faults.push(...(await visit(io, url, transports)));
    }),
  );
  return faults;
}

for (const window of ["", "100ms"]) {
  for (const secret of window ? [""] : ["", "a secret that all nodes know"]) {
    const kind = `${window ? `handover within ${window}` : "relayed"}${secret ? ", with a cluster secret" : ""}`;
    test(kind, async (t) => {
      const serve = ["--app bench", window && `--handover-window ${window}`].filter(Boolean).join(" ");
      if (secret) process.env.SOCKEYE_CLUSTER_SECRET = secret;
      const cluster = await Cluster.start({ SERVE: serve, ADAPTER: "sharded" }).finally(() => delete process.env.SOCKEYE_CLUSTER_SECRET);
      try {
        for (const [version, io] of Object.entries(clients)) {
          for (const [way, transports] of Object.entries(ways)) {
            await t.test(`${version}, ${way}`, { timeout: 60_000 + connects * 100 }, async () => {
              assert.deepEqual(await crowd(io, cluster.url, transports), []);
            });
          }
        }
      } finally {
        await cluster.stop();
      }
    });
  }
}
