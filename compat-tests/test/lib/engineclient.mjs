// A hand-driven Engine.IO v4 client: each request and each frame is the test's own.
import WebSocket from "ws";
import { request, startRequest } from "./rawhttp.mjs";
import { sleep } from "./sleep.mjs";

export const SEPARATOR = "\x1e";

/** A polling session. `path` defaults to the bare engine's. */
export class PollingSession {
  constructor(addr, { path = "/engine.io/", query = "" } = {}) {
    this.addr = addr;
    this.base = `${path}?EIO=4&transport=polling${query}`;
  }
  static async open(addr, names, name = "sid", options = {}) {
    const session = new PollingSession(addr, options);
    const response = await request(addr, { target: session.base, headers: options.headers });
    session.handshakeResponse = response;
    session.handshake = JSON.parse(response.body.toString().slice(1).split(SEPARATOR)[0]);
    session.sid = names.add(session.handshake.sid, name);
    return session;
  }
  get target() {
    return `${this.base}&sid=${this.sid}`;
  }
  poll(options = {}) {
    return request(this.addr, { target: this.target, timeout: 10000, ...options });
  }
  async packets(options) {
    const response = await this.poll(options);
    return response.status === 200 ? response.body.toString().split(SEPARATOR) : [`status ${response.status}`];
  }
  startPoll(options = {}) {
    return startRequest(this.addr, { target: this.target, ...options });
  }
  post(body, options = {}) {
    const headers = { "Content-Type": "text/plain;charset=UTF-8", ...options.headers };
    return request(this.addr, { method: "POST", target: this.target, body, ...options, headers });
  }
  /** Starts a poll and gives it time to be parked. */
  async parkPoll(options) {
    const poll = this.startPoll(options);
    await sleep(120);
    return poll;
  }
  /** Waits until the server has forgotten the session; the answer is that of known. */
  async gone(timeout = 5000) {
    for (const start = Date.now(); Date.now() - start < timeout; await sleep(30)) {
      const answer = await this.known();
      if (answer !== "known") return answer;
    }
    return "known";
  }
  /** Whether the server still knows the session: the status and body of a harmless request. */
  async known() {
    const r = await request(this.addr, { method: "PUT", target: this.target });
    return r.status === 500 ? "known" : `${r.status} ${r.body}`;
  }
}

/** A WebSocket whose incoming frames and end are recorded. */
export class FrameLog {
  constructor(addr, target, options = {}) {
    this.frames = [];
    this.waiters = new Set();
    this.ws = new WebSocket(`ws://${addr.host}:${addr.port}${target}`, { perMessageDeflate: false, ...options });
    this.ws.on("open", () => this.#change("opened", true));
    this.ws.on("message", (data, binary) => {
      this.frames.push(binary ? { binary: data.toString("hex") } : data.toString());
      this.#change();
    });
    this.ws.on("close", (code, reason) => this.#change("closed", { code, reason: reason.toString() }));
    this.ws.on("unexpected-response", (_, res) => {
      let body = "";
      res.on("data", (d) => (body += d));
      res.on("end", () => this.#change("refused", { status: res.statusCode, type: res.headers["content-type"], body }));
      res.on("error", () => this.#change("refused", { status: res.statusCode, type: res.headers["content-type"], body }));
    });
    this.ws.on("error", (err) => this.refused || this.opened || this.#change("failed", err.message));
  }
  #change(key, value) {
    if (key) this[key] = value;
    for (const check of [...this.waiters]) check();
  }
  #until(done, what, timeout) {
    return new Promise((resolve, reject) => {
      let timer;
      const check = () => {
        if (!done()) return;
        clearTimeout(timer);
        this.waiters.delete(check);
        resolve(this);
      };
      timer = setTimeout(() => {
        this.waiters.delete(check);
        reject(new Error(`websocket: no ${what} after ${timeout} ms; frames ${JSON.stringify(this.frames)}, closed ${JSON.stringify(this.closed)}`));
      }, timeout);
      this.waiters.add(check);
      check();
    });
  }
  open(timeout = 5000) {
    return this.#until(() => this.opened || this.refused || this.failed, "handshake", timeout);
  }
  async refusal(timeout = 5000) {
    await this.#until(() => this.refused || this.opened || this.failed, "answer", timeout);
    return this.opened ? "opened" : (this.refused ?? { failed: true });
  }
  async count(n, timeout = 5000) {
    await this.#until(() => this.frames.length >= n || this.closed, `frame ${n}`, timeout);
    return this.frames.slice();
  }
  async frame(index, timeout) {
    return (await this.count(index + 1, timeout))[index];
  }
  async end(timeout = 5000) {
    await this.#until(() => this.closed || this.refused || this.failed, "close", timeout);
    return this.closed ?? this.refused ?? { failed: true };
  }
  send(data) {
    this.ws.send(data);
  }
  close(code) {
    this.ws.close(code);
  }
  destroy() {
    this.ws.terminate();
  }
  /** A websocket-only Engine.IO session; the open packet's id is named. */
  static async session(addr, names, { path = "/engine.io/", name = "sid", query = "", ...options } = {}) {
    const log = new FrameLog(addr, `${path}?EIO=4&transport=websocket${query}`, options);
    await log.open();
    const open = await log.frame(0);
    if (open) log.sid = names.add(JSON.parse(open.slice(1)).sid, name);
    return log;
  }
  /** A probing WebSocket for an existing polling session. */
  static async probe(addr, session, { path = "/engine.io/", ...options } = {}) {
    const log = new FrameLog(addr, `${path}?EIO=4&transport=websocket&sid=${session.sid}`, options);
    return log.open();
  }
}
