// A transcript is plain data that a script recorded at one server. The same
// script runs at both servers and the transcripts must be deeply equal.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { selfCheck, shared, sides, start } from "./servers.mjs";

/** Collects the ids a script met, so that the transcript names them instead of quoting them. */
export class Names {
  #byID = new Map();
  add(id, name) {
    if (id && !this.#byID.has(id)) this.#byID.set(id, `<${name}>`);
    return id;
  }
  /** A deep copy of value with every known id replaced, binary data shown as hex. */
  apply(value) {
    if (typeof value === "string") return this.#replace(value);
    if (typeof value === "bigint" || typeof value === "undefined") return `${typeof value} ${value}`;
    if (value === null || typeof value !== "object") return value;
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) {
      return { binary: Buffer.from(value.buffer ?? value, value.byteOffset ?? 0, value.byteLength).toString("hex") };
    }
    if (value instanceof Error) return { error: this.#replace(value.message) };
    if (value instanceof Set) return [...value].map((v) => this.apply(v));
    if (Array.isArray(value)) return value.map((v) => this.apply(v));
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [this.#replace(k), this.apply(v)]));
  }
  #replace(text) {
    for (const [id, name] of this.#byID) text = text.split(id).join(name);
    return text;
  }
}

/**
 * Registers a test that runs script({server, addr, names, t}) at both servers at
 * the same time and compares what it returns. Options: args (flags), program,
 * fresh (own processes instead of shared ones), timeout in ms, quiet (what ends a connection is not the server's
 * will, which Sockeye does not tell its clients then).
 */
export function differential(name, { args = [], program = "serve", fresh = false, timeout = 30000, quiet = false } = {}, script) {
  test(name, { timeout }, async (t) => {
    const run = async (side) => {
      const server = fresh ? await start(side, program, args) : await shared(side, program, args);
      const names = new Names();
      try {
        return names.apply(await script({ server, addr: server.addr, names, t }));
      } catch (err) {
        err.message = `${side}: ${err.message}\n${server.output.slice(-15).join("\n")}`;
        throw err;
      } finally {
        if (fresh) await server.stop();
      }
    };
    const [reference, subject] = await settle(sides.map(run));
    assertFilled(reference);
    assertSame(quiet && !selfCheck ? quietly(reference) : reference, subject);
  });
}

/** A transcript without close frames and close packets: the connection just ends, and a parked poll gets a noop. */
function quietly(value) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map(quietly);
  const rest = Object.fromEntries(Object.entries(value).map(([key, v]) => [key, quietly(v)]));
  if (rest.code === 1005 || rest.code === 1009) return { ...rest, code: 1006 };
  return rest.body === "1" ? { ...rest, body: "6" } : rest;
}

async function settle(promises) {
  const results = await Promise.allSettled(promises);
  const failed = results.find((r) => r.status === "rejected");
  if (failed) throw failed.reason;
  return results.map((r) => r.value);
}

/** Deep equality whose failure lists the paths that differ, each with both values. */
export function assertSame(reference, subject) {
  if (isDeepStrictEqual(subject, reference)) return;
  const lines = differences(reference, subject, "").slice(0, 25);
  assert.fail(`the Go server's transcript differs from the reference's\n${lines.join("\n")}`);
}

function differences(reference, subject, path) {
  if (isDeepStrictEqual(reference, subject)) return [];
  const nested = (v) => v !== null && typeof v === "object";
  if (!nested(reference) || !nested(subject)) {
    return [`  ${path}\n    reference: ${show(reference)}\n    sockeye:   ${show(subject)}`];
  }
  const keys = new Set([...Object.keys(reference), ...Object.keys(subject)]);
  return [...keys].flatMap((key) => differences(reference[key], subject[key], `${path}/${key}`));
}

function show(value) {
  const text = value === undefined ? "(absent)" : JSON.stringify(value);
  return text.length > 300 ? `${text.slice(0, 300)}... (${text.length} characters)` : text;
}

// An empty transcript compares equal to another empty one and proves nothing.
function assertFilled(transcript) {
  const empty = transcript === undefined || transcript === null || Object.keys(transcript).length === 0;
  assert.ok(!empty, "the script recorded nothing");
}

export { sleep } from "./sleep.mjs";
