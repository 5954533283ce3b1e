// Rows of the matrix: what is broadcast arrives unchanged, through every encoding between the nodes.

const bin = (...bytes) => ({ $bin: Buffer.from(bytes).toString("hex") });
const date = (ms) => ({ $date: ms });
const undef = { $undefined: true };
const nested = (depth, leaf) => (depth === 0 ? leaf : depth % 2 ? { level: depth, child: nested(depth - 1, leaf) } : [depth, nested(depth - 1, leaf)]);
const powers = (...exponents) => exponents.flatMap((e) => [2 ** e - 1, 2 ** e, -(2 ** e), -(2 ** e) - 1]);

const payloads = {
  "binary": [
    [bin(1, 2, 3)],
    [bin()],
    ["a", bin(0xff, 0), 2, bin(0x7b, 0x22), null],
    [{ $bin: "ab".repeat(70_000) }],
  ],
  "nested binary": [
    [{ file: bin(9), list: [[bin(8)], { deep: { deeper: bin(7, 7) } }] }, "after"],
    [[bin(1), [bin(2), { "": bin(3) }]], { a: null, b: bin(4), c: [], d: { e: "f" } }],
  ],
  "unicode": [
    ["\u00e9\u00df \u4f60\u597d \u{1f600}\u{1f469}\u200d\u{1f4bb} \u05e9\u05dc\u05d5\u05dd \u0e2a\u0e27\u0e31\u0e2a", "\u2028\u2029\u0000\u0007\u007f\ufeff\uffff", "<script>&amp;'\"\\/\r\n\t"],
    [{ "\u00fc \u{1f511}": "\u{10ffff}", " ": " " }, bin(1), "\u{1f600}".repeat(300)],
  ],
  "event names": [[], ["x"]],
  "numbers": [
    [0, 1, -1, 127, 128, 255, 256, ...powers(5, 7, 8, 15, 16, 31, 32)],
    [2 ** 53 - 1, -(2 ** 53) + 1, 2 ** 53, 2 ** 60, 1e15, 1e19, 123456789012],
    [0.1, -0.5, 1 / 3, 1e-7, 5e-324, 4294967296.5, { n: [1.25] }],
    [2 ** 53 - 1, 0.1, -(2 ** 31), 2 ** 32, bin(1)],
  ],
  "dates": [
    [date(0), date(1_700_000_000_123), date(1_700_000_000_120), date(-1), date(-62135596800000), date(253402300799999), { at: date(1e12), list: [date(4294967296000)] }],
    [date(1_700_000_000_123), bin(1), { at: date(1) }],
  ],
  "undefined and null": [
    [null, undef, "x"],
    [undef],
    [{ a: null, b: undef, c: [undef, null] }],
    [null, bin(1), null],
  ],
  "deep objects": [
    [nested(40, "leaf")],
    [nested(40, bin(1, 2))],
    [{ a: { b: { c: [{ d: [[[[{}]]]] }] } }, e: [], f: {}, g: [[], {}] }],
  ],
  "lengths": [
    [0, 1, 31, 32, 255, 256, 65535, 65536].map((n) => "s".repeat(n)),
    [15, 16, 300].map((n) => Array.from({ length: n }, (_, i) => i)),
    [15, 16, 300].map((n) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, i % 2 === 0]))),
    Array.from({ length: 60 }, (_, i) => i),
    [255, 256, 65535, 65536].map((n) => ({ $bin: "5a".repeat(n) })),
    Array.from({ length: 10 }, (_, i) => bin(i)),
  ],
  "odd keys": [[{ "": 1, "constructor": 2, "toString": null, "10": "a", "9": "b", "length": 3, "a.b": 4, "$": 5, "_placeholder": false, "num": 7, "type": 9 }], [true, false, "true", "null", "[]", "{}", ""]],
};

// Names of events that are no words; each goes out with every payload of its row.
const eventNames = { "event names": ["", "\u{1f600} \u00e9", "message", "news:item", "a".repeat(300), "0", "constructor"] };

// notepack.io writes whole numbers from 2^64 on as other numbers, so that they never arrive from a Node node.
const huge = {
  name: "whole numbers beyond 2^64",
  note: "From Node nodes with the classic adapter they arrive as other numbers, as between two Node nodes.",
  async run(c) {
    await c.setUp("a1", "b1");
    for (const number of [1e20, -1e20, 1e21, 1.7976931348623157e308, 3.4028234663852886e38, 1e300]) await c.do("emit", { event: "payload", args: [number, { number }] });
    await c.flush();
  },
  expected: (control, direction) => (direction.startsWith("Go") ? { ...control, to: { ...control.to, clients: { b1: control.from.clients.a1 } } } : control),
};

const plainRows = Object.entries(payloads).map(([name, list]) => ({
  name,
  async run(c) {
    const [a1, b1] = await c.setUp("a1", "b1");
    await c.join(a1, "room");
    await c.join(b1, "room");
    for (const args of list) {
      for (const event of eventNames[name] ?? ["payload"]) {
        await c.do("emit", { event, args });
        await c.do("emit", { event, args, to: ["room"] });
        await c.do("emit", { event, args, to: [b1.id, "nobody's"] });
      }
    }
    await c.flush();
  },
}));

export const payloadRows = [...plainRows, huge];
