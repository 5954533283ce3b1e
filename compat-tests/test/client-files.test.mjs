// The client bundle as the server serves it: names, headers, conditional and encoded answers.
import { createHash } from "node:crypto";
import { after } from "node:test";
import { recordResponse, request } from "./lib/rawhttp.mjs";
import { stopShared } from "./lib/servers.mjs";
import { differential } from "./lib/transcript.mjs";

after(stopShared);

const conformance = { args: ["--app", "conformance"] };
const names = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];
const files = [...names, ...names.map((n) => `${n}.map`)];

// The reference streams the files in chunks, so a length is framing. It does not
// say that the answer depends on Accept-Encoding; Sockeye does, for the caches' sake.
function record(response) {
  const { status, headers, body } = recordResponse(response);
  delete headers["content-length"];
  headers.vary = headers.vary?.split(/, */).filter((name) => name !== "Accept-Encoding").join(", ") || undefined;
  return { status, headers, length: body.length, digest: createHash("sha256").update(body).digest("hex") };
}

differential("every file, plain", conformance, async ({ addr }) => {
  const out = {};
  for (const file of files) out[file] = record(await request(addr, { target: `/socket.io/${file}` }));
  return out;
});

differential("encodings", conformance, async ({ addr }) => {
  const out = {};
  for (const encoding of ["gzip", "deflate", "br", "gzip, deflate, br", "gzip, deflate", "identity", "*", "gzip;q=0", "br;q=0.1, gzip"]) {
    for (const file of ["socket.io.min.js", "socket.io.min.js.map"]) {
      out[`${encoding} ${file}`] = record(await request(addr, { target: `/socket.io/${file}`, headers: { "Accept-Encoding": encoding } }));
    }
  }
  return out;
});

differential("conditional requests", conformance, async ({ addr }) => {
  const { headers } = await request(addr, { target: "/socket.io/socket.io.js" });
  const out = { etag: headers.etag };
  for (const tag of [headers.etag, `W/${headers.etag}`, '"other"', "*", `"a", ${headers.etag}`, headers.etag.replaceAll('"', "")]) {
    const response = await request(addr, { target: "/socket.io/socket.io.js", headers: { "If-None-Match": tag } });
    out[tag] = record(response);
  }
  return out;
});

differential("other names and methods", conformance, async ({ addr }) => {
  const out = {};
  for (const target of ["/socket.io/socket.io.js?v=1", "/socket.io/other.js", "/socket.io/socket.io.js/", "/socket.io/../socket.io.js", "/socket.io/SOCKET.IO.JS", "/socket.io/socket.io.js.map.map", "/socket.io/", "/socket.io/socket.io%2ejs", "/socket.io/package.json"]) {
    out[target] = record(await request(addr, { target }));
  }
  for (const method of ["POST", "PUT", "DELETE"]) out[method] = record(await request(addr, { method, target: "/socket.io/socket.io.js" }));
  return out;
});

differential("another path", { args: ["--app", "conformance", "--path", "/deep/er"] }, async ({ addr }) => ({
  there: record(await request(addr, { target: "/deep/er/socket.io.js" })),
  gone: (await request(addr, { target: "/socket.io/socket.io.js" })).status,
}));

differential("CORS headers", { args: ["--app", "conformance", "--cors-origin", "http://a.example"] }, async ({ addr }) => ({
  get: record(await request(addr, { target: "/socket.io/socket.io.js", headers: { Origin: "http://a.example" } })),
  preflight: record(await request(addr, { method: "OPTIONS", target: "/socket.io/socket.io.js", headers: { Origin: "http://a.example" } })),
}));
