// internal/msgpack against npm notepack.io and @msgpack/msgpack: what each writes, and makes of what the other wrote.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { brokenFrames, brokenTexts, carriedValues, emittedValues, foreignFrames, spelledTexts } from "./msgpack-cases.mjs";
import { buildProbe } from "./lib/probe.mjs";

const require = createRequire(import.meta.url);
const notepack = require("notepack.io");
const msgpack = require("@msgpack/msgpack");

const ask = buildProbe("msgpackprobe");

const base64 = (data) => Buffer.from(data).toString("base64");
const fromBase64 = (text) => Buffer.from(text, "base64");

/** A value as the JSON with placeholders that socket.io-parser makes of it. */
function toPayload(value) {
  const attachments = [];
  const deconstruct = (v) => {
    if (ArrayBuffer.isView(v)) return { _placeholder: true, num: attachments.push(base64(v)) - 1 };
    if (Array.isArray(v)) return v.map(deconstruct);
    if (typeof v !== "object" || v === null) return v;
    return Object.fromEntries(Object.entries(v).map(([k, item]) => [k, deconstruct(item)]));
  };
  return { text: base64(JSON.stringify(deconstruct(value))), attachments };
}

/** The value that a payload of the probe stands for. */
function fromPayload({ text, attachments = [] }) {
  if (text === undefined) return undefined;
  const reconstruct = (v) => {
    if (typeof v !== "object" || v === null) return v;
    if (attachments.length > 0 && v._placeholder === true) return fromBase64(attachments[v.num]);
    if (Array.isArray(v)) return v.map(reconstruct);
    return Object.fromEntries(Object.entries(v).map(([k, item]) => [k, reconstruct(item)]));
  };
  return reconstruct(JSON.parse(fromBase64(text).toString()));
}

/** A decoded value as it reaches a client: what JSON.stringify and the binary attachments make of it. */
function delivered(v) {
  if (v instanceof Date) return v.toJSON();
  if (typeof v === "number") return Number.isFinite(v) ? v + 0 : null;
  if (v instanceof ArrayBuffer || ArrayBuffer.isView(v)) return Buffer.from(v);
  if (Array.isArray(v)) return v.map((item) => delivered(item) ?? null);
  if (typeof v !== "object" || v === null) return v;
  return Object.fromEntries(Object.entries(v).filter(([, item]) => item !== undefined).map(([k, item]) => [k, delivered(item)]));
}

/** A label is made only when there is something to tell. */
function same(got, want, label) {
  if (!isDeepStrictEqual(got, want)) assert.deepStrictEqual([got], [want], label());
}

/** Compares frames that the probe wrote with those of the packages, and has the packages read them. */
function compareWritten(values, answers) {
  values.forEach((value, i) => {
    const label = () => JSON.stringify(value);
    same(answers[i].error, undefined, label);
    same(answers[i].notepack, base64(notepack.encode(value)), label);
    same(answers[i].messagepack, base64(msgpack.encode(value)), label);
    same(delivered(notepack.decode(fromBase64(answers[i].notepack))), delivered(value), label);
    same(delivered(msgpack.decode(fromBase64(answers[i].messagepack))), delivered(withoutMark(value)), label);
  });
}

/** @msgpack/msgpack loses a byte order mark at the beginning of strings of more than 200 bytes. */
function withoutMark(v) {
  if (typeof v === "string") return Buffer.byteLength(v) > 200 && v.startsWith("\ufeff") ? v.slice(1) : v;
  if (Array.isArray(v)) return v.map(withoutMark);
  if (typeof v !== "object" || v === null || ArrayBuffer.isView(v)) return v;
  return Object.fromEntries(Object.entries(v).map(([k, item]) => [withoutMark(k), withoutMark(item)]));
}

/** What the packages make of frames against what the probe makes of them. */
function compareRead(frames, decode, reference = (frame) => decode(frame)) {
  const answers = ask(frames.map((frame) => ({ frame: base64(frame) })));
  frames.forEach((frame, i) => {
    const label = () => frame.toString("hex");
    same(answers[i].error, undefined, label);
    const [ours, theirs] = [fromPayload(answers[i]), delivered(reference(frame))];
    same(ours, theirs, label);
    same(JSON.stringify(ours), JSON.stringify(theirs), label); // the order of keys too
  });
}

test("values are written byte by byte as the packages write them", () => {
  const values = carriedValues(6000);
  compareWritten(values, ask(values.map(toPayload)));
});

test("values that the packages wrote are read as they read them", () => {
  const values = emittedValues(6000);
  compareRead(values.map((v) => notepack.encode(v)), notepack.decode);
  // @msgpack/msgpack drops a byte order mark in long strings; Node's Buffer, and Sockeye, keep it.
  compareRead(values.map((v) => Buffer.from(msgpack.encode(v))), notepack.decode);
});

test("JSON in other spellings is written as the value that JSON.parse makes of it", () => {
  const texts = spelledTexts(4000);
  compareWritten(texts.map((t) => JSON.parse(t)), ask(texts.map((t) => ({ text: base64(t) }))));
});

test("lone surrogates", () => {
  const texts = brokenTexts(1000).flatMap((t) => [t, [t], { [t]: 1 }]);
  const answers = ask(texts.map((t) => ({ text: base64(JSON.stringify(t)) })));
  const wellFormed = (t) => (typeof t === "string" ? t.toWellFormed() : JSON.parse(JSON.stringify(t).replace(/\\u[dD][89a-fA-F]../g, "\ufffd")));
  texts.forEach((t, i) => {
    const label = () => JSON.stringify(t);
    same(notepack.decode(fromBase64(answers[i].notepack)), wellFormed(t), label);
    same(answers[i].messagepack, base64(msgpack.encode(t)), label);
  });
  const long = texts.filter((t) => typeof t === "string" && t.length > 32);
  assert.ok(long.length > 100);
  long.forEach((t) => assert.equal(answers[texts.indexOf(t)].notepack, base64(notepack.encode(t))));
  const short = texts.filter((t) => typeof t === "string" && Buffer.byteLength(t) <= 200);
  compareRead(short.map((t) => Buffer.from(msgpack.encode(t))), msgpack.decode);
});

test("whole numbers that notepack would garble arrive", () => {
  const numbers = [2 ** 64, 1e20, 1e21, 1e300, Number.MAX_VALUE, -(2 ** 63) - 2048, -1e19, -1e300];
  const answers = ask(numbers.map(toPayload));
  numbers.forEach((n, i) => {
    assert.notEqual(notepack.decode(notepack.encode(n)), n);
    assert.equal(notepack.decode(fromBase64(answers[i].notepack)), n);
    assert.equal(answers[i].messagepack, base64(msgpack.encode(n)));
  });
});

test("the key __proto__ is left out", () => {
  const text = '{"a":1,"__proto__":{"b":[1,{"c":2}]},"\\u005f_proto__":3,"d":{"__proto__":null,"e":[]}}';
  assert.throws(() => msgpack.decode(msgpack.encode(JSON.parse(text))), /__proto__/);
  const [{ notepack: ours, messagepack }] = ask([{ text: base64(text) }]);
  assert.equal(ours, messagepack);
  for (const decode of [notepack.decode, msgpack.decode]) {
    const value = decode(fromBase64(ours));
    assert.deepStrictEqual(value, { a: 1, d: { e: [] } });
    assert.equal(Object.getPrototypeOf(value), Object.prototype);
  }
  const frame = notepack.encode(JSON.parse(text));
  compareRead([frame], notepack.decode, () => JSON.parse('{"a":1,"d":{"e":[]}}'));
});

test("the deepest payload that is written can be read by both packages", () => {
  const nested = (n, [open, close]) => open.repeat(n) + "0" + close.repeat(n);
  const texts = [["[", "]"], ['{"a":', "}"], ['[{"1":', "}]"]].map((pair) => nested(pair[0].startsWith("[{") ? 512 : 1024, pair));
  for (const { notepack: ours, messagepack } of ask(texts.map((t) => ({ text: base64(t) })))) {
    const value = notepack.decode(fromBase64(ours));
    assert.equal(JSON.stringify(value), JSON.stringify(msgpack.decode(fromBase64(messagepack))));
  }
  const tooDeep = ask(texts.map((t) => ({ text: base64(`[${t}]`) })));
  tooDeep.forEach(({ error }) => assert.match(error, /nested too deeply/));
});

test("frames of notepack 2 and of other languages", () => compareRead(foreignFrames, notepack.decode));

test("broken frames are refused, or read as notepack reads them", () => {
  const values = emittedValues(1000);
  const frames = brokenFrames([...values.map((v) => notepack.encode(v)).filter((f) => f.length < 500), ...foreignFrames], 6000);
  const answers = ask(frames.map((frame) => ({ frame: base64(frame) })));
  let read = 0;
  frames.forEach((frame, i) => {
    if (answers[i].error !== undefined) return;
    read++;
    same(fromPayload(answers[i]), delivered(settledTexts(notepack.decode(frame), answers[i])), () => frame.toString("hex"));
  });
  assert.ok(read > frames.length / 10 && read < frames.length, `${read} of ${frames.length} read`);
});

/** Encoded surrogates, which Sockeye keeps, are three U+FFFD to notepack: such frames are compared with their own. */
function settledTexts(value, answer) {
  return /\\u[dD][89a-fA-F]/.test(fromBase64(answer.text ?? "").toString()) ? fromPayload(answer) : value;
}
