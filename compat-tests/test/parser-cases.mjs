// Packets for parser.test.mjs: picked by hand, and made from a seed so that a failure can be repeated.
import { random } from "./lib/random.mjs";

const nested = (n) => "[".repeat(n) + "]".repeat(n);
const b = (text) => Buffer.from(text);
const ph = (num) => `{"_placeholder":true,"num":${num}}`;

const texts = [
  // Types.
  "", " ", "\t0", "\u00a0", "\ufeff", "\u2028{}", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "-", "+1", "\u{1f600}", "é0", "00", "0 ", "\v", "\u180e",
  // Kinds of payload.
  "0{}", '0{"a":1}', "0[]", "0null", '0"a"', "01", "0true", "0false", "0{", "0{}x", "0 {}", "0{} ", "0\n{}", "0/a,{}", "0/a{}", '0{"sid":"x"}',
  "1{}", "1null", "1 ", "1/a,", "1/a", "1/a,1", '1"x"', "1x",
  '2["a"]', "2[1]", "2[1.50]", "2[1e21]", "2[1e-7]", "2[-0]", "2[1e999]", "2[-1e999]", "2[true]", "2[null]", "2[[]]", "2[{}]", "2[]", "2{}", '2"a"', "2null", "2[", '2["a",]', '2[,"a"]', "2[1,2", "2 ", "20", "20[]",
  '2["connect"]', '2["connect_error"]', '2["disconnect"]', '2["disconnecting"]', '2["newListener"]', '2["removeListener"]', '2["error"]', '2["Connect"]', '2["connect "]',
  '2["\\u0063onnect"]', '2["\\u0063\\u006f\\u006e\\u006e\\u0065\\u0063\\u0074"]', '2["\\u0072\\u0065\\u006d\\u006f\\u0076\\u0065\\u004c\\u0069\\u0073\\u0074\\u0065\\u006e\\u0065\\u0072"]',
  '2[""]', '2["__proto__",{"__proto__":{"a":1}}]', '2["a",{"constructor":null,"toString":1,"hasOwnProperty":2}]',
  '2["a\\ud800"]', '2["a","\\ud83d\\ude00","\\ude00\\ud83d","\\ud83d"]', '2["\\/\\b\\f\\n\\r\\t\\"\\\\"]', '2["a\u2028\u2029"]', '2["a\nb"]', '2["a\u007f"]', '2["\\x"]', '2["\\u12g4"]', '2["\\u12"]', '2["\u0000"]',
  "3[]", "3[1]", "3{}", "3", "30[]", '312["a"]', "3null", "3[[]]", '3[{"a":[]}]',
  "4{}", '4"x"', "4[]", "4", "4null", "41", "4 1", '4{"message":"x","data":{}}', "4true",
  // Namespaces.
  '2/,["a"]', '2/a,["a"]', '2/a["a"]', '2/a?b=c,["a"]', '2/a?b=c&d=%20,1["a"]', '0/admin?token=x,', '0/admin?token=x', '2/a/b,12["a"]', "2/,", "2/", '2//,["a"]', '2/é\u{1f600},["a"]', '2/ ,["a"]', '2/a,,["a"]', '2/a b,["a"]', '2a,["a"]', '2/a\n,["a"]', '2/a,/b,["a"]',
  // Ids.
  '20["a"]', '2007["a"]', '29007199254740991["a"]', '29007199254740992["a"]', '299999999999999999999["a"]', `2${"9".repeat(400)}["a"]`, `2${"0".repeat(400)}7["a"]`, '2 ["a"]', '2 1["a"]', '21 ["a"]', '21 2["a"]', '2\u00a01\u2003["a"]', '2\t\n["a"]', '2-1["a"]', '2+1["a"]', '21.5["a"]', '21e5["a"]', '20x1["a"]', '2/a,5["a"]', '2/a, 5 ["a"]', "212", "30", "3 ", "1 5", "05", '05{"a":1}',
  // Numbers and literals.
  '2["a",0,-0,1.5,1e5,1E+5,1e-5,123456789012345678901234567890]', '2["a",01]', '2["a",1.]', '2["a",.5]', '2["a",+1]', '2["a",1e]', '2["a",-]', '2["a",0x1]', '2["a",NaN]', '2["a",Infinity]', '2["a",undefined]', '2["a",True]', '2["a",tru]', '2["a",nul', '2["a",1e400,-1e400]', '2["a",1e-400]', '2["a",9007199254740993]',
  // White space and structure.
  '2 [ "a" , { "b" : [ ] , "c" : { } } ] ', '2["a"]\r\n\t ', '2["a"]\u00a0', '2["a"\u00a0]', '2["a"\f]', '2["a"] x', '2["a"]]', '2["a"}', '2["a",{"b"}]', '2["a",{"b":}]', '2["a",{"b":1,}]', '2["a",{b:1}]', "2['a']", '2["a",{"b":1,"b":2}]', '2["a",{"":0}]', '2["a"/**/]', '2["a",{"2":1,"1":2,"b":3,"a":4}]',
  '2["a",' + nested(100) + "]", '2["a",' + nested(4095) + "]", '2["a",' + nested(4096) + "]", "2" + "[".repeat(100000),
  ...Array.from({ length: 0x21 }, (_, c) => `2["a${String.fromCharCode(c)}"]`), ...Array.from({ length: 0x80 }, (_, c) => `2["\\${String.fromCharCode(c)}"]`),
  // Placeholders where there is nothing to replace.
  `2["a",${ph(0)}]`, `3[${ph(0)}]`, `0${ph(0)}`, `2["a",{"_placeholder":true}]`,
  // Attachment counts.
  ...["", "0", "1", "01", "10", "11", "1.0", "1.5", "1e0", "1e1", "1e2", "+1", " 1", "1 ", "\u00a01\ufeff", "0x1", "0X0A", "0xB", "0b1", "0B10", "0o7", "0o12", "0x", "0b2", "+0x1", "Infinity", "+Infinity", "NaN", "1_0", "1,", "/", "a", ".1e1", "1.", ".", "1e", "1e+1", "0.99999999999999999999", "1.0000000000000000000000001", "1e400", "1e-400", "10.0", "1\n", "0".repeat(300) + "1", "1" + "0".repeat(400), "p1", "0x1p1", "inf"].flatMap((n) => [`5${n}-["a"]`, `6${n}-[]`, `5${n}-`]),
  '51["a"]', '51', '5-', '5--', '51-["a"', '51-{}', '51-["connect"]', `51-[${ph(0)}]`, '51-/a,["a"]', '51-/a,12["a"]', '51-12["a"]', '51-[]', '61-[]', '61-{}', '61-', '6', '51-/a', '51-null', '51-[1]',
];

const shadowed = '{"_placeholder":true,"num":9}';
const sequences = [
  [b("x")], ['2["a"]', b("x")], ['51-["a"]', '2["b"]'], ['51-["a"]', ""], ['51-["a"]', b(""), b("x")], ["51-", b("x")], ["61-", b("x")], ["51-0", b("x")],
  ['52-["a"]', b("x")], ['52-["a"]', b("x"), '2["b"]'], ['51-["a"]', b("x"), '2["b"]'], ['51-["a"]', b("x"), '51-["a"]', b("y")], ['1', '51-["a"]', b("x"), '0'],
  ...[
    ph(0), ph("0.0"), ph("-0"), ph("0.5"), ph("1.5"), ph("1e0"), ph("1.9999"), ph("2"), ph("-1"), ph("-0.5"), ph("-0.1"), ph("-1e-300"), ph("-1e-400"), ph("1e400"), ph("1e-400"), ph('"0"'), ph("null"), ph("true"), ph("[0]"), ph("{}"), ph("1E-1"), ph("0e5"),
    '{"_placeholder":true}', '{"_placeholder":1,"num":0}', '{"_placeholder":"true","num":9}', '{"_placeholder":false,"num":9}', '{"_placeholder":null}', '{"placeholder":true,"num":9}', '{"num":1,"_placeholder":true}',
    '{"_placeholder":true,"num":0,"more":1}', `{"_placeholder":true,"num":0,"more":${shadowed}}`, '{ "_placeholder" : true , "num" : 1 }', '{"\\u005fplaceholder":true,"\\u006eum":1}', '{"_plac\\u0065holder":true,"num":7}',
    '{"_placeholder":true,"num":9,"num":1}', '{"_placeholder":true,"num":1,"num":9}', '{"_placeholder":true,"_placeholder":false,"num":9}', '{"_placeholder":false,"num":0,"_placeholder":true}',
    `{"a":${shadowed},"a":1}`, `{"a":1,"a":${shadowed}}`, `{"a":${shadowed},"\\u0061":1}`, `{"a":${shadowed},"b":1}`, `{"a":{"b":${shadowed}},"a":2}`, `{"a":${shadowed},"a":1,"a":${shadowed}}`, `{"a":${ph(0)},"a":1}`, `{"a":1,"a":${ph(1)}}`, `{"a":[${shadowed}],"c":[],"a":[]}`,
    `{"__proto__":${ph(0)}}`, `{"__proto__":${shadowed}}`, `{"__proto__":{"_placeholder":true,"num":9},"a":1}`, '{"__proto__":{"_placeholder":true}}', `[[[[${ph(1)}]]],{"a":{"b":{"c":${ph(0)}}}}]`, `[${ph(0)},${ph(0)},${ph(1)}]`, `{"a":${ph("0.5")},"b":[${ph("0.5")}]}`, `${ph(1)},${ph(0)}`, "1", '"_placeholder"', "{}", "[]", "{},[]",
    `{"x":${ph(0)},"y":"\\ud800"}`, `{"b":1,"a":${ph(1)},"c":null}`,
  ].flatMap((p) => [[`52-["a",${p}]`, b("first"), b("\x00\xff")], [`62-7[${p}]`, b("first"), b("")]]),
  [`52-["a",${ph(1)}]`, b("first"), b("second")], [`51-["a",${ph(0)},{"_placeholder":true,"num":0.5}]`, b("x")],
  [`510-["a",${Array.from({ length: 10 }, (_, i) => ph(9 - i)).join()}]`, ...Array.from({ length: 10 }, (_, i) => b(String(i)))],
];

export const handPicked = [...texts.map((t) => [t]), ...sequences];

const seeds = texts.filter((t) => t.length > 0 && t.length < 200);
const tokens = [..."0123456789-/,\"[]{}:\\ .eE+tfnu_", "\u00a0", "\ufeff", "\u2028", "\n", "\t", "\u0000", "é", "\u{1f600}", "true", "null", "\\u00", "\\ud800", '["a"]', ',"b"', '{"c":1}', "/ns", "1e5", "connect"];

/** Changes a text in up to four places. */
function mutate(r, text) {
  let chars = [...text];
  for (let n = 1 + r.below(4); n > 0; n--) {
    const at = r.below(chars.length + 1);
    switch (r.below(5)) {
      case 0:
        chars.splice(at, 1);
        break;
      case 1:
        chars.splice(at, 0, r.pick(tokens));
        break;
      case 2:
        chars.splice(at, 1, r.pick(tokens));
        break;
      case 3:
        chars.splice(at, 0, ...chars.slice(r.below(chars.length + 1), r.below(chars.length + 1)));
        break;
      default:
        chars = [...chars.slice(0, at), ...[...r.pick(seeds)].slice(-r.below(12) - 1)];
    }
  }
  return chars.join("");
}

export function mutations(count) {
  const r = random(1);
  return Array.from({ length: count }, () => [mutate(r, r.pick(seeds))]);
}

export function binarySequences(count) {
  const r = random(2);
  const heads = sequences.map((s) => s[0]).filter((t) => typeof t === "string" && t.length > 3);
  return Array.from({ length: count }, () => {
    const head = r.pick(heads);
    const frames = [r.below(3) === 0 ? head : mutate(r, head)];
    for (let n = r.below(4); n > 0; n--) frames.push(r.below(12) === 0 ? r.pick(seeds) : b(r.pick(tokens).repeat(r.below(5))));
    return frames;
  });
}

export function invalidUTF8(count) {
  const r = random(3);
  const odd = [0x80, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xa0, 0xed, 0x9f, 0xee, 0xef, 0xbb, 0xf0, 0x90, 0xf1, 0xf4, 0x8f, 0xf5, 0xff, 0x22, 0x41];
  return Array.from({ length: count }, () => {
    const some = Buffer.from(Array.from({ length: 1 + r.below(6) }, () => r.pick(odd)));
    return [{ raw: Buffer.concat([b(r.pick(['2["', '2/', '2["a","x', '51-["'])), some, b(r.pick(['"]', ',["a"]', '"]x', "\"]"]))]) }];
  });
}

/** A value whose keys stand in the order in which Go sorts them. */
function value(r, depth, binary) {
  switch (r.below(depth > 0 ? 9 : 6)) {
    case 0:
      return r.pick([null, true, false]);
    case 1:
      return r.pick([0, 1, -1, 123456789, 2 ** 53, -(2 ** 53), 1e21, 1e20, 1e-6, 1e-7, 0.1, 5e-324, 1.7976931348623157e308]);
    case 2:
      return (r.next() - 0.5) * 10 ** (r.below(60) - 30);
    case 3:
      return text(r);
    case 4:
      return binary ? b(text(r)) : text(r);
    case 5:
      return r.below(1000);
    case 6:
      return Array.from({ length: r.below(4) }, () => value(r, depth - 1, binary));
    default: {
      const keys = Array.from({ length: r.below(4) }, () => "k" + text(r)).sort((x, y) => Buffer.compare(b(x), b(y)));
      return Object.fromEntries(keys.map((k) => [k, value(r, depth - 1, binary)]));
    }
  }
}

function text(r) {
  return Array.from({ length: r.below(8) }, () => String.fromCodePoint(r.pick([r.below(0x80), r.below(0x80), r.below(0xd800), 0xe000 + r.below(0x2000), 0x10000 + r.below(0x100000), 0x2028]))).join("");
}

export function canonicalPackets(count) {
  const r = random(4);
  return Array.from({ length: count }, () => {
    const p = { type: r.pick([2, 2, 3]), nsp: r.pick(["/", "/a", "/é?b=1"]) };
    if (r.below(2)) p.id = r.pick([0, 1, 12, Number.MAX_SAFE_INTEGER]);
    const binary = r.below(2) === 0;
    const args = Array.from({ length: r.below(4) }, () => value(r, 3, binary));
    p.data = p.type === 2 ? ["e" + text(r), ...args] : args;
    const attachments = JSON.stringify(p.data).split('"type":"Buffer"').length - 1;
    return attachments > 10 ? { type: 3, nsp: "/", data: [] } : p;
  });
}

export function numbers(count) {
  const r = random(5);
  const bits = new DataView(new ArrayBuffer(8));
  const edges = [0, -0, NaN, Infinity, -Infinity, 1e21, 1e21 - 2 ** 17, 1e-6, 9.999999999999999e-7, 1e-7, 5e-324, 2 ** 53, 2 ** 63, 2 ** 64, 0.1, 1 / 3, Number.MAX_VALUE, Number.MIN_VALUE, 2.2250738585072014e-308, 123456789012345680000, 1e100, 1.5e-10];
  return Array.from({ length: count }, (_, i) => {
    if (i < edges.length) return edges[i];
    if (i % 3 === 0) return (r.next() - 0.5) * 10 ** (r.below(50) - 25);
    if (i % 3 === 1) return Math.round((r.next() - 0.5) * 2 ** r.below(80));
    bits.setUint32(0, r.below(2 ** 32));
    bits.setUint32(4, r.below(2 ** 32));
    return bits.getFloat64(0);
  });
}

export function times(count) {
  const r = random(6);
  const edges = [0, 1, -1, 999, -999, 253402300799999, 253402300800000, -62167219200000, -62167219200001, 8.64e15, -8.64e15, 8.64e15 + 1, -8.64e15 - 1, 2 ** 53 - 1, -62198755200000, -62135596800000];
  return Array.from({ length: count }, (_, i) => (i < edges.length ? edges[i] : Math.round((r.next() - 0.5) * 10 ** (4 + r.below(13)))));
}
