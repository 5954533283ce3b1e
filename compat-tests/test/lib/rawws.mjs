// WebSocket over a plain TCP connection: frames are built and read byte by byte, so that a test can send what no library
// would send and sees exactly what came back.
import { createHash } from "node:crypto";
import net from "node:net";
import zlib from "node:zlib";

export const TEXT = 1;
export const BINARY = 2;
export const CONTINUATION = 0;
export const CLOSE = 8;
export const PING = 9;
export const PONG = 10;

export const RSV1 = 4;
export const RSV2 = 2;
export const RSV3 = 1;

const KEY = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);
const TRAILER = Buffer.from([0, 0, 0xff, 0xff]);
const { Z_SYNC_FLUSH } = zlib.constants;

/**
 * Bytes of one client frame. `length` is "shortest", 16 or 64 (the form of the length field), or a bigint that the field
 * claims; `mask` is a key of four bytes, or null for an unmasked frame.
 */
export function frame(opcode, payload = "", { fin = true, rsv = 0, mask = KEY, length = "shortest" } = {}) {
  const data = Buffer.from(payload);
  const first = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  const head = Buffer.concat([Buffer.from([first]), lengthField(data.length, length)]);
  if (!mask) return Buffer.concat([head, data]);
  head[1] |= 0x80;
  return Buffer.concat([head, mask, data.map((byte, i) => byte ^ mask[i & 3])]);
}

function lengthField(size, form) {
  if (form === 64 || typeof form === "bigint" || (form === "shortest" && size > 65535)) {
    const field = Buffer.alloc(9, 127);
    field.writeBigUInt64BE(typeof form === "bigint" ? form : BigInt(size), 1);
    return field;
  }
  if (form === 16 || size > 125) {
    const field = Buffer.alloc(3, 126);
    field.writeUInt16BE(size, 1);
    return field;
  }
  return Buffer.from([size]);
}

/** Bytes of a close frame with a code and a reason. */
export function closeFrame(code, reason = "") {
  return frame(CLOSE, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));
}

/** Frames of one message that consists of the given parts. */
export function fragments(opcode, parts, { rsv = 0 } = {}) {
  const last = parts.length - 1;
  return Buffer.concat(parts.map((part, i) => frame(i ? CONTINUATION : opcode, part, { fin: i === last, rsv: i ? 0 : rsv })));
}

/** Compressed form of a message as it goes on the wire. */
export function deflate(data, options = {}) {
  const out = zlib.deflateRawSync(Buffer.from(data), { finishFlush: Z_SYNC_FLUSH, ...options });
  return options.finishFlush === undefined ? out.subarray(0, -TRAILER.length) : out;
}

function inflate(data) {
  return zlib.inflateRawSync(Buffer.concat([data, TRAILER]), { finishFlush: Z_SYNC_FLUSH });
}

export const upgradeHeaders = {
  Host: "localhost",
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  "Sec-WebSocket-Version": "13",
};

export const TARGET = "/engine.io/?EIO=4&transport=websocket";

/** Bytes of an upgrade request; a header that is null is left out, an array is repeated. */
export function upgradeRequest({ method = "GET", target = TARGET, version = "HTTP/1.1", headers = {} } = {}) {
  const lines = [`${method} ${target} ${version}`];
  for (const [name, value] of Object.entries({ ...upgradeHeaders, ...headers })) {
    for (const v of value === null ? [] : [value].flat()) lines.push(`${name}: ${v}`);
  }
  return Buffer.from(lines.join("\r\n") + "\r\n\r\n", "latin1");
}

/** A connection whose incoming bytes are read as an HTTP response head and, after a 101, as frames. */
export class RawWebSocket {
  #unread = Buffer.alloc(0);
  #waiters = new Set();
  head = null;
  frames = [];
  /** null while open, then "end" or the code of the error that cut the connection. */
  ended = null;

  constructor(addr, request) {
    this.socket = net.connect({ port: addr.port, host: addr.host, allowHalfOpen: true });
    this.socket.setNoDelay(true);
    this.socket.on("data", (data) => this.#data(data));
    this.socket.on("end", () => this.#finish("end"));
    this.socket.on("error", (err) => this.#finish(err.code));
    this.socket.write(request);
  }

  #finish(how) {
    this.ended ??= how;
    this.#wake();
  }

  #data(data) {
    this.#unread = Buffer.concat([this.#unread, data]);
    if (this.head === null) this.#readHead();
    if (this.head?.startsWith("HTTP/1.1 101")) while (this.#readFrame());
    this.#wake();
  }

  #readHead() {
    const end = this.#unread.indexOf("\r\n\r\n");
    if (end < 0) return;
    this.head = this.#unread.subarray(0, end).toString("latin1");
    this.#unread = this.#unread.subarray(end + 4);
  }

  #readFrame() {
    const b = this.#unread;
    if (b.length < 2) return false;
    const short = b[1] & 0x7f;
    const start = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (b.length < start) return false;
    const size = short < 126 ? short : short === 126 ? b.readUInt16BE(2) : Number(b.readBigUInt64BE(2));
    if (b.length < start + size) return false;
    const opcode = b[0] & 15;
    const f = { opcode, flags: b[0] & 0xf0, masked: b[1] > 0x7f, payload: b.subarray(start, start + size) };
    try {
      f.data = f.flags & 0x40 ? inflate(f.payload) : f.payload;
    } catch (err) {
      f.data = Buffer.from(`not inflated: ${err.message}`);
    }
    this.frames.push(f);
    this.#unread = b.subarray(start + size);
    return true;
  }

  /** What has arrived and is no whole frame or response head: the body of a refusal. */
  get rest() {
    return this.#unread;
  }

  #wake() {
    for (const check of [...this.#waiters]) check();
  }

  /** Resolves when done() is true or the connection has ended. */
  until(what, done, timeout = 8000) {
    return new Promise((resolve, reject) => {
      let timer;
      const check = () => {
        if (!done() && this.ended === null) return;
        clearTimeout(timer);
        this.#waiters.delete(check);
        resolve();
      };
      timer = setTimeout(() => {
        this.#waiters.delete(check);
        reject(new Error(`no ${what} after ${timeout} ms; have ${JSON.stringify(this.frames.map(recordFrame)).slice(0, 400)}`));
      }, timeout);
      this.#waiters.add(check);
      check();
    });
  }

  /** Writes the pieces one by one, each in a turn of the event loop of its own. */
  async write(pieces) {
    for (const piece of pieces) {
      if (this.ended !== null) return;
      this.socket.write(piece);
      if (pieces.length > 1) await new Promise(setImmediate);
    }
  }

  halfClose() {
    this.socket.end();
  }

  destroy() {
    this.socket.destroy();
  }
}

/** What a transcript keeps of a frame: long payloads as a digest, texts as text, everything else as hex. */
export function recordFrame({ opcode, flags, masked, data }) {
  const out = { opcode, flags };
  if (masked) out.masked = true;
  if (opcode === CLOSE && data.length >= 2) {
    out.code = data.readUInt16BE(0);
    out.reason = data.subarray(2).toString();
  } else if (data.length > 200) {
    out.length = data.length;
    out.sha1 = createHash("sha1").update(data).digest("hex");
  } else {
    out[opcode === TEXT ? "text" : "hex"] = data.toString(opcode === TEXT ? "utf8" : "hex");
  }
  return out;
}

/** Cuts bytes into pieces of one size. */
export function chop(bytes, size) {
  const out = [];
  for (let i = 0; i < bytes.length; i += size) out.push(bytes.subarray(i, i + size));
  return out;
}
