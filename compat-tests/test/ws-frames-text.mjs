// UTF-8: valid and invalid sequences, whole, cut into fragments at each byte, cut into pieces of the stream.
import { BINARY, CONTINUATION, PING, TEXT, chop, fragments, frame } from "./lib/rawws.mjs";

const hex = (s) => Buffer.concat([Buffer.from("4"), Buffer.from(s.replaceAll(" ", ""), "hex")]);

const valid = {
  "greek letters": "ceba e1bdb9 cf83 cebc ceb5",
  "first and last of each length": "00 7f c280 dfbf e0a080 efbfbf f0908080 f48fbfbf",
  "around the surrogates": "ed9fbf ee8080",
  "non-characters": "efb790 efbfbe f09fbfbe f48fbfbf",
  "byte order mark": "efbbbf 61",
};
const invalid = {
  "lonely continuation byte": "80",
  "lonely continuation bytes": "80bf80",
  "first byte of two, then a blank": "c220",
  "first byte of three, then a blank": "e020",
  "two bytes of three, then a blank": "e1a020",
  "three bytes of four, then a blank": "f0908020",
  "first byte of five": "f888808080",
  "first byte of six": "fc8480808080",
  "FE": "fe",
  "FF": "ff",
  "overlong slash in two": "c0af",
  "overlong slash in three": "e080af",
  "overlong slash in four": "f08080af",
  "overlong maximum in two": "c1bf",
  "overlong maximum in three": "e09fbf",
  "overlong maximum in four": "f08fbfbf",
  "overlong zero": "c080",
  "first high surrogate": "eda080",
  "last low surrogate": "edbfbf",
  "surrogate pair": "eda080 edb080",
  "beyond the last character": "f4908080",
  "far beyond": "f7bfbfbf",
  "cut after one of two": "61 c2",
  "cut after two of three": "61 e282",
  "cut after three of four": "61 f09f98",
  "bad in the middle": "ceba e1bdb9 cf83 eda080 656469746564",
};

const cuts = (bytes) => Array.from({ length: bytes.length - 1 }, (_, i) => i + 1);
const all = (bytes) => Array.from(bytes, (b) => Buffer.from([b]));

const good = Object.entries(valid).flatMap(([name, s]) => [
  { name: `valid: ${name}`, send: [frame(TEXT, hex(s))] },
  { name: `valid: ${name}, in single bytes`, send: chop(frame(TEXT, hex(s)), 1) },
  { name: `valid: ${name}, each byte a fragment`, send: [fragments(TEXT, all(hex(s)))] },
]);

const bad = Object.entries(invalid).flatMap(([name, s]) => [
  { name: `invalid: ${name}`, send: [frame(TEXT, hex(s))], finish: "end" },
  { name: `invalid: ${name}, each byte a fragment`, send: [fragments(TEXT, all(hex(s)))], finish: "end" },
]);

const euro = hex("ceba e282ac f09f9880 7a");
const everyCut = cuts(euro).flatMap((n) => [
  { name: `two fragments, cut after byte ${n}`, send: [fragments(TEXT, [euro.subarray(0, n), euro.subarray(n)])] },
  { name: `a ping between two fragments, cut after byte ${n}`, send: [frame(TEXT, euro.subarray(0, n), { fin: false }), frame(PING, "p"), frame(CONTINUATION, euro.subarray(n))] },
]);
const broken = hex("ceba eda080 7a");
const everyBadCut = cuts(broken).map((n) => ({
  name: `invalid, two fragments, cut after byte ${n}`,
  send: [fragments(TEXT, [broken.subarray(0, n), broken.subarray(n)])],
  finish: "end",
}));

const order = [
  { name: "invalid in an open fragment: pings are still answered", send: [frame(TEXT, hex("ff"), { fin: false })], finish: "ping" },
  { name: "invalid in an open fragment, then a violation", send: [frame(TEXT, hex("ff"), { fin: false }), frame(TEXT, "4a")], finish: "end" },
  { name: "invalid, then a violation", send: [frame(TEXT, hex("ff")), frame(3)], finish: "end" },
  { name: "message, then an invalid one", send: [Buffer.concat([frame(TEXT, "4a"), frame(TEXT, hex("ff"))])], finish: "end" },
  { name: "invalid text is fine as binary", send: [frame(BINARY, hex("ff eda080"))] },
  { name: "invalid text is fine in a ping", send: [frame(PING, hex("ff eda080"))] },
  { name: "long text with an error at the end", send: [frame(TEXT, Buffer.concat([Buffer.from("4" + "€".repeat(20000)), Buffer.from([0xe2, 0x82])]))], finish: "end" },
];

export const text = [...good, ...bad, ...everyCut, ...everyBadCut, ...order];
