// The mixed matrix: every row runs between two Node nodes, whose transcript is the expectation, and at the same time
// between Node and Go nodes on the same Redis. The short form runs one mixed cell of each row, the full
// form all of them, and writes docs/compatibility.md.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { broadcastRows } from "./mixed-rows-broadcast.mjs";
import { callRows } from "./mixed-rows-calls.mjs";
import { emitterRows } from "./mixed-rows-emitter.mjs";
import { numberRows } from "./mixed-rows-numbers.mjs";
import { payloadRows } from "./mixed-rows-payloads.mjs";
import { Cluster, flavours, full, startNodes } from "./lib/mixed.mjs";
import { Report } from "./lib/report.mjs";
import { startRedis } from "./lib/redis.mjs";
import { assertSame } from "./lib/transcript.mjs";

const rows = [...broadcastRows, ...payloadRows, ...callRows, ...numberRows, ...emitterRows];
// Rows that wait for a timeout begin first, beside the others.
const patientFirst = [...rows.filter((row) => row.patient), ...rows.filter((row) => !row.patient)];
const directions = {
  "Go to Node": ["go", "node2"],
  "Node to Go": ["node", "go2"],
  "Go to Go": ["go", "go2"],
};
const sides = { node: "reference", node2: "reference", go: "sockeye", go2: "sockeye" };

const report = new Report({ rows, flavours, directions: Object.keys(directions) });
let redis;
let namespaces = 0;

before(async () => {
  redis = await startRedis();
  report.redis = redis.version;
});
after(async () => {
  await redis?.stop();
  if (full) report.write();
});

/** The mixed cells that this run has for a row: all, or in the short form one, taking turns over rows and flavours. */
function cellsOf(row, flavour) {
  const names = Object.keys(directions);
  return full ? names : [names[(rows.indexOf(row) + flavours.indexOf(flavour)) % names.length]];
}

async function play(row, nodes, [from, to]) {
  const cluster = new Cluster({ from: nodes[from], to: nodes[to], nsp: row.namespace ?? `/cell-${++namespaces}.`, emitter: row.emitter });
  try {
    const extra = await row.run(cluster);
    await cluster.heard();
    return cluster.transcript(extra && { extra });
  } finally {
    cluster.end();
  }
}

async function playAll(row, nodes, cells) {
  const pairs = [["node", "node2"], ...cells.map((cell) => directions[cell])];
  if (row.namespace !== "/") return Promise.allSettled(pairs.map((pair) => play(row, nodes, pair)));
  // The main namespace is the same for all cells, so that they take turns.
  const results = [];
  for (const pair of pairs) results.push(...(await Promise.allSettled([play(row, nodes, pair)])));
  return results;
}

for (const flavour of flavours) {
  describe(flavour.name, { concurrency: 4 }, () => {
    let nodes;
    before(async () => {
      nodes = await startNodes(redis, flavour, sides);
    });
    after(() => nodes?.stop());
    for (const row of patientFirst) {
      test(row.name, { timeout: 60_000 }, async () => {
        const cells = cellsOf(row, flavour);
        const [control, ...results] = await playAll(row, nodes, cells);
        if (control.status === "rejected") {
          for (const cell of cells) report.set(row, flavour, cell, false);
          throw control.reason;
        }
        const failures = results.flatMap((result, i) => {
          const expected = row.expected?.(control.value, cells[i]) ?? control.value;
          const failure = compare(expected, result);
          report.set(row, flavour, cells[i], failure === null);
          return failure === null ? [] : [`${cells[i]}: ${failure}`];
        });
        assert.ok(failures.length === 0, failures.join("\n"));
      });
    }
  });
}

/** Returns what is wrong with a cell's result, or null. */
function compare(expected, { status, value, reason }) {
  if (status === "rejected") return reason.stack;
  try {
    assertSame(expected, value);
    return null;
  } catch (failure) {
    return failure.message;
  }
}
