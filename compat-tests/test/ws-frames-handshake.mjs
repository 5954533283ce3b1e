// Upgrade requests, good and bad: status line, body and the headers that matter.
import { TARGET, upgradeRequest } from "./lib/rawws.mjs";

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const PMD = "permessage-deflate";

const vary = (header, values, rest = {}) =>
  values.map((value) => ({ name: `${header}: ${value === null ? "(absent)" : JSON.stringify(value)}`, headers: { [header]: value }, ...rest }));

const targets = [
  "/engine.io/?EIO=4&transport=websocket&t=abc",
  "/engine.io/anything/else?EIO=4&transport=websocket",
  "/engine.io/?EIO=4",
  "/engine.io/?EIO=4&transport=polling",
  "/engine.io/?EIO=4&transport=webtransport",
  "/engine.io/?EIO=4&transport=tcp",
  "/engine.io/?EIO=4&transport=constructor",
  "/engine.io/?EIO=4&transport=websocket&sid=unknown",
  "/engine.io/?EIO=4&transport=polling&transport=websocket",
  "/engine.io/?EIO=4&transport=web%73ocket",
];

export const handshakes = [
  { name: "good request" },
  { name: "good request, version 8", headers: { "Sec-WebSocket-Version": "8" } },
  ...vary("Sec-WebSocket-Key", [null, "short==", KEY + "=", KEY.slice(0, 23) + "a", "-".repeat(22) + "==", "+/".repeat(11) + "==", [KEY, KEY], `${KEY}, ${KEY}`]),
  ...vary("Sec-WebSocket-Version", [null, "", "0", "7", "9", "12", "14", "13.0", "0xd", "thirteen", ["13", "13"], "13, 8"]),
  ...vary("Upgrade", [null, "", "WebSocket", "WEBSOCKET", "websocket2", "h2c", "websocket, h2c"]),
  ...vary("Connection", [null, "keep-alive", "keep-alive, Upgrade", "upgrade", "close"]),
  ...vary("Sec-WebSocket-Protocol", ["chat", "chat, other", "a,,b", "a b", "a, a", ["a", "b"], ["a", "a"]]),
  ...["POST", "HEAD", "PUT", "OPTIONS", "DELETE"].map((method) => ({ name: `method ${method}`, method, headers: { "Content-Length": method === "HEAD" ? null : "0" } })),
  ...targets.map((target) => ({ name: `target ${target}`, target })),
  ...vary("Origin", ["http://elsewhere.example", "null", "nonsense"]),
  ...["", "; ", ";", "=", "; unknown", "; server_max_window_bits", "; server_max_window_bits=7", "; server_max_window_bits=16", "; server_max_window_bits=abc", "; client_max_window_bits=7", "; client_max_window_bits=16",
    "; server_no_context_takeover=1", "; client_no_context_takeover=true", "; server_no_context_takeover; server_no_context_takeover", '; client_max_window_bits="8', ", ", ` ${PMD}`, "; server_max_window_bits=08", "; client_max_window_bits=1e1"]
    .flatMap((rest) => vary("Sec-WebSocket-Extensions", [PMD + rest], { server: "deflate" })),
  ...vary("Sec-WebSocket-Extensions", [[PMD, `${PMD}; client_max_window_bits`], ["foo", PMD], ", permessage-deflate", "foo bar"], { server: "deflate" }),
  { name: "malformed extensions at a server without any", headers: { "Sec-WebSocket-Extensions": "a;;;=" } },
  { name: "bad key before bad version", headers: { "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "1" } },
  { name: "bad version before bad extensions", server: "deflate", headers: { "Sec-WebSocket-Version": "1", "Sec-WebSocket-Extensions": ";" } },
];

// net/http answers most of these before any handler runs, in its own words, as Node's parser does in others. The Go server
// refuses them all.
const splice = "the reference accepts with 101 and then writes an HTTP error into the WebSocket stream";
export const knownDifferences = [
  { name: "EIO=3", reason: splice, target: "/engine.io/?EIO=3&transport=websocket" },
  { name: "EIO=5", reason: splice, target: "/engine.io/?EIO=5&transport=websocket" },
  { name: "no EIO", reason: splice, target: "/engine.io/?transport=websocket" },
  { name: "HTTP/1.1 without Host", reason: "net/http insists on Host, Node does not for upgrades", headers: { Host: null } },
  { name: "not HTTP", reason: "each library has its own 400", bytes: Buffer.from("hello\r\n\r\n") },
  { name: "HTTP/2.0 preface", reason: "each library has its own refusal", bytes: Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") },
  { name: "unknown version", reason: "net/http answers 505, Node 400", bytes: upgradeRequest({ version: "HTTP/3.7" }) },
  { name: "header name with a blank", reason: "each library has its own 400", headers: { "Bad Name": "x" } },
  { name: "unknown method", reason: "Node's parser knows a fixed list, net/http hands it on", method: "FROBNICATE", target: TARGET },
];
