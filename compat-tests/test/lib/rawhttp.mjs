// HTTP/1.1 over a plain TCP connection, so that a test can send what no HTTP
// library would, and sees exactly what came back.
import net from "node:net";
import zlib from "node:zlib";

const CRLF2 = Buffer.from("\r\n\r\n");

/** Bytes of one request. A `body` gets a Content-Length unless `chunked` is set or the header is given. */
export function requestBytes({ method = "GET", target, headers = {}, body, chunked = false }) {
  const lines = [`${method} ${target} HTTP/1.1`];
  const all = { Host: "localhost", Connection: "close", ...headers };
  const payload = body === undefined ? undefined : Buffer.from(body);
  const named = new Set(Object.keys(all).map((k) => k.toLowerCase()));
  if (payload && chunked) all["Transfer-Encoding"] = "chunked";
  else if (payload && !named.has("content-length")) all["Content-Length"] = payload.length;
  for (const [name, value] of Object.entries(all)) {
    if (value === null) continue;
    for (const v of [].concat(value)) lines.push(`${name}: ${v}`);
  }
  const parts = [Buffer.from(lines.join("\r\n") + "\r\n\r\n", "latin1")];
  if (payload && chunked) parts.push(...chunks(payload));
  else if (payload) parts.push(payload);
  return Buffer.concat(parts);
}

function chunks(payload) {
  const out = [];
  for (let i = 0; i < payload.length; i += 16384) {
    const piece = payload.subarray(i, i + 16384);
    out.push(Buffer.from(piece.length.toString(16) + "\r\n"), piece, Buffer.from("\r\n"));
  }
  out.push(Buffer.from("0\r\n\r\n"));
  return out;
}

/** Opens a connection, writes `bytes` and collects everything until it ends. */
export class Exchange {
  constructor(addr, bytes) {
    this.received = Buffer.alloc(0);
    this.ended = false;
    this.waiters = new Set();
    this.socket = net.connect(addr.port, addr.host);
    this.socket.setNoDelay(true);
    if (bytes) this.socket.write(bytes);
    this.socket.on("data", (d) => this.#change(() => (this.received = Buffer.concat([this.received, d]))));
    this.socket.on("error", () => {});
    this.socket.on("close", () => this.#change(() => (this.ended = true)));
    this.socket.on("end", () => this.socket.end());
  }
  #change(apply) {
    apply();
    for (const check of [...this.waiters]) check();
  }
  /** Resolves with done() as soon as it is defined, or with undefined once the connection has ended. */
  wait(done, timeout = 5000) {
    return new Promise((resolve, reject) => {
      let timer;
      const check = () => {
        const value = done();
        if (value === undefined && !this.ended) return;
        clearTimeout(timer);
        this.waiters.delete(check);
        resolve(value);
      };
      timer = setTimeout(() => {
        this.waiters.delete(check);
        reject(new Error(`no complete answer after ${timeout} ms; received ${JSON.stringify(this.received.toString("latin1").slice(0, 300))}`));
      }, timeout);
      this.waiters.add(check);
      check();
    });
  }
  response(timeout) {
    return this.wait(() => parseResponse(this.received, this.ended), timeout).then((r) => r ?? { status: 0 });
  }
  closed(timeout) {
    return this.wait(() => (this.ended ? true : undefined), timeout);
  }
  destroy() {
    this.socket.destroy();
  }
}

/** One request, one response: {status, headers, body}. A connection that ends without an answer gives status 0. */
export async function request(addr, options) {
  const exchange = new Exchange(addr, options.bytes ?? requestBytes(options));
  try {
    return await exchange.response(options.timeout);
  } finally {
    exchange.destroy();
  }
}

/** A request whose answer is awaited later; `done` is the promise of it. */
export function startRequest(addr, options) {
  const exchange = new Exchange(addr, requestBytes(options));
  const done = exchange.response(options.timeout ?? 10000);
  done.catch(() => {});
  return { exchange, done };
}

function parseResponse(bytes, ended) {
  const end = bytes.indexOf(CRLF2);
  if (end < 0) return undefined;
  const [statusLine, ...lines] = bytes.subarray(0, end).toString("latin1").split("\r\n");
  const status = Number(statusLine.split(" ")[1]);
  if (status === 100) return parseResponse(bytes.subarray(end + 4), ended);
  const headers = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  const body = parseBody(status, headers, bytes.subarray(end + 4), ended);
  return body && { status, reason: statusLine.split(" ").slice(2).join(" "), headers, body };
}

function parseBody(status, headers, rest, ended) {
  if (status === 204 || status === 304 || status === 101) return Buffer.alloc(0);
  if (headers["transfer-encoding"] === "chunked") return unchunk(rest);
  const length = Number(headers["content-length"] ?? NaN);
  if (Number.isNaN(length)) return ended ? rest : undefined;
  return rest.length >= length || ended ? rest.subarray(0, length) : undefined;
}

function unchunk(rest) {
  const out = [];
  for (;;) {
    const eol = rest.indexOf("\r\n");
    if (eol < 0) return undefined;
    const size = parseInt(rest.subarray(0, eol).toString("latin1"), 16);
    if (rest.length < eol + 2 + size + 2) return undefined;
    if (size === 0) return Buffer.concat(out);
    out.push(rest.subarray(eol + 2, eol + 2 + size));
    rest = rest.subarray(eol + 2 + size + 2);
  }
}

const HOP_BY_HOP = new Set(["connection", "keep-alive", "transfer-encoding", "date"]);

/**
 * What a transcript keeps of a response: everything but dates and headers that
 * belong to the connection. Content-Length is framing where the body is an error text.
 */
export function recordResponse(response) {
  const headers = {};
  for (const name of Object.keys(response.headers ?? {}).sort()) {
    if (HOP_BY_HOP.has(name)) continue;
    if (name === "content-length" && response.status !== 200) continue;
    headers[name] = response.headers[name];
  }
  return { status: response.status, headers, body: decoded(response) };
}

function decoded({ headers = {}, body = Buffer.alloc(0) }) {
  switch (headers["content-encoding"]) {
    case "gzip":
      return zlib.gunzipSync(body).toString();
    case "deflate":
      return zlib.inflateSync(body).toString();
    case "br":
      return zlib.brotliDecompressSync(body).toString();
    default:
      return body.toString();
  }
}
