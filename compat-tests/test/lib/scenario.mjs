// Drives a scenario server by commands and npm clients by hand, and records what both saw.
import { io } from "socket.io-client";
import { differential } from "./transcript.mjs";

export const modes = {
  polling: ["polling"],
  websocket: ["websocket"],
  upgrade: ["polling", "websocket"],
};

const BARRIER = "barrier";
/** Events that a script sends to learn how far the others are; no transcript has them. */
const soundings = new Set([BARRIER, "probe", "mark"]);
const roomLists = new Set(["rooms", "allRooms", "clusterRooms", "sockets", "ids"]);

class Commands {
  #next = 1;
  #pending = new Map();
  constructor(server) {
    this.server = server;
    this.log = [];
    this.waiters = new Set();
    server.onLine = (line) => this.#line(JSON.parse(line));
    server.exited.then(() => {
      for (const { reject } of this.#pending.values()) reject(new Error("the scenario server ended"));
    });
  }
  #line({ id, log, result, error }) {
    if (log) {
      this.log.push(log);
      for (const check of [...this.waiters]) check();
      return;
    }
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    pending?.resolve(error === undefined ? { result } : { error });
  }
  send(command) {
    const id = this.#next++;
    this.server.send(JSON.stringify({ ...command, id }));
    return new Promise((resolve, reject) => this.#pending.set(id, { resolve, reject }));
  }
}

const commandsOf = new WeakMap();
let namespaceCounter = 0;

/** One run of one script at one server. */
export class Scenario {
  constructor({ server, names, mode, nsp }) {
    Object.assign(this, { server, names, mode, nsp, clients: [], seen: {} });
    if (!commandsOf.has(server)) commandsOf.set(server, new Commands(server));
    this.commands = commandsOf.get(server);
  }
  /** Runs a command in this scenario's namespace; a refused command throws. */
  async command(name, fields = {}) {
    const { result, error } = await this.commands.send({ do: name, nsp: this.nsp, ...fields });
    if (error !== undefined) throw new Error(`command ${name}: ${error}`);
    if (name === "fetchSockets") return this.#sortedSockets(result);
    return roomLists.has(name) && result ? this.#sorted(result) : result;
  }
  /** Like command, but the error is part of the result. */
  attempt(name, fields = {}) {
    return this.commands.send({ do: name, nsp: this.nsp, ...fields });
  }
  create(fields) {
    return this.command("create", fields);
  }
  /** A client that may or may not get through; see connect for one that must. */
  client(name, { nsp = this.nsp, auth, manager, ...options } = {}) {
    const client = new RecordedClient(this, name, nsp, { auth, manager, ...options });
    this.clients.push(client);
    return client;
  }
  async connect(name, options) {
    const client = this.client(name, options);
    await client.connected();
    // The answer comes after the server's own callback for the connection has run.
    await client.ask(BARRIER);
    return client;
  }
  async connectAll(...names) {
    const out = [];
    for (const name of names) out.push(await this.connect(name));
    return out;
  }
  /**
   * Waits until everything sent so far has arrived and has been handled: one
   * round for what the clients sent, one for what handlers sent to others.
   */
  async settle() {
    for (let round = 0; round < 2; round++) {
      await Promise.all(this.clients.filter((c) => c.socket.connected).map((c) => c.socket.timeout(8000).emitWithAck(BARRIER)));
    }
    await this.command("sync");
  }
  /** Waits for a log entry. */
  waitLog(match, timeout = 8000) {
    const { log, waiters } = this.commands;
    return new Promise((resolve, reject) => {
      let timer;
      const check = () => {
        const found = log.find((e) => this.#mine(e) && match(e));
        if (!found) return;
        clearTimeout(timer);
        waiters.delete(check);
        resolve(found);
      };
      timer = setTimeout(() => {
        waiters.delete(check);
        reject(new Error(`no such log entry; log ${JSON.stringify(log.filter((e) => this.#mine(e)).slice(-5))}`));
      }, timeout);
      waiters.add(check);
      check();
    });
  }
  waitDisconnect(client) {
    return this.waitLog((e) => e.event === "disconnect" && e.sid === client.ids.at(-1));
  }
  #sortedSockets(list) {
    const named = this.names.apply(list).map((s) => ({ ...s, rooms: s.rooms.sort() }));
    return named.sort((x, y) => (x.id < y.id ? -1 : 1));
  }
  // Rooms are a set, and ids sort differently at the two servers.
  #sorted(rooms) {
    return this.names.apply(rooms).sort();
  }
  #mine(entry) {
    return this.clients.some((c) => c.nsp === entry.nsp) || entry.nsp === this.nsp;
  }
  /** What each client saw, and what the server logged for it, in order. */
  transcript(extra = {}) {
    const clients = Object.fromEntries(this.clients.map((c) => [c.name, c.events]));
    const server = {};
    const known = new Map(this.clients.flatMap((c) => c.ids.map((id) => [id, c.name])));
    for (const { sid, ...entry } of this.commands.log.filter((e) => this.#mine(e))) {
      if (entry.rooms) entry.rooms = this.#sorted(entry.rooms);
      (server[known.get(sid) ?? "(server)"] ??= []).push(entry);
    }
    return { clients, server, ...extra };
  }
  end() {
    for (const client of this.clients) client.destroy();
  }
}

class RecordedClient {
  constructor(scenario, name, nsp, { auth, manager, ...options }) {
    Object.assign(this, { scenario, name, nsp, events: [], ids: [] });
    const transports = modes[scenario.mode];
    this.socket = manager
      ? manager.socket.io.socket(nsp, { auth })
      : io(scenario.server.url + nsp, { transports, forceNew: true, reconnection: false, auth, timeout: 8000, ...options });
    this.socket.on("connect", () => this.#connected());
    this.socket.on("disconnect", (reason) => this.events.push({ disconnect: reason }));
    this.socket.on("connect_error", (err) => this.events.push({ connectError: this.#refusal(err) }));
    this.socket.onAny((event, ...args) => {
      if (soundings.has(event)) return;
      if (typeof args.at(-1) === "function") args[args.length - 1] = "(ack)";
      this.events.push([event, ...args]);
    });
    if (manager && !this.socket.active) this.socket.connect();
  }
  #connected() {
    this.ids.push(this.id);
    this.scenario.names.add(this.id, this.ids.length === 1 ? this.name : `${this.name} ${this.ids.length}`);
    this.events.push("connect");
  }
  // A transport's error text is the client's own and depends on timing.
  #refusal(err) {
    return err.type === "TransportError" ? "transport error" : { message: err.message, data: err.data };
  }
  get id() {
    return this.socket.id;
  }
  #once(event, timeout, failure) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${this.name}: no ${event} in ${timeout} ms; saw ${JSON.stringify(this.events)}`)), timeout);
      this.socket.once(event, (...args) => (clearTimeout(timer), resolve(args)));
      if (failure) this.socket.once(failure, (err) => (clearTimeout(timer), reject(new Error(`${this.name}: ${err.message}`))));
    });
  }
  async connected(timeout = 8000) {
    if (!this.socket.connected) await this.#once("connect", timeout, "connect_error");
  }
  async refused(timeout = 8000) {
    if (!this.events.some((e) => e.connectError)) await this.#once("connect_error", timeout);
  }
  async disconnected(timeout = 8000) {
    if (!this.events.some((e) => e.disconnect)) await this.#once("disconnect", timeout);
  }
  async reconnected(timeout = 8000) {
    if (this.ids.length < 2) await this.#once("connect", timeout);
  }
  /** Waits until the transport in use is the last of the mode. */
  async upgraded() {
    const wanted = modes[this.scenario.mode].at(-1);
    const engine = this.socket.io.engine;
    if (engine.transport.name !== wanted) await new Promise((resolve) => engine.once("upgrade", resolve));
  }
  emit(...args) {
    this.socket.emit(...args);
    return this;
  }
  ask(...args) {
    return this.socket.timeout(8000).emitWithAck(...args);
  }
  /** Answers an event of the server with a function of its arguments. */
  answer(event, reply) {
    this.socket.on(event, (...args) => {
      const ack = args.pop();
      ack(...[].concat(reply(...args)));
    });
    return this;
  }
  destroy() {
    this.socket.disconnect();
    this.socket.io.engine?.close();
  }
}

/**
 * Registers script(scenario) for each transport mode, each run in a namespace of
 * its own, at both servers. Options: namespace ("own" or "/"), args, fresh, only (modes).
 */
export function scenario(name, options, script) {
  if (typeof options === "function") [options, script] = [{}, options];
  const { only = Object.keys(modes), namespace = "own", ...rest } = options;
  for (const mode of only) {
    const nsp = namespace === "own" ? `/n${++namespaceCounter}-${mode}` : namespace;
    const fresh = rest.fresh ?? namespace === "/";
    differential(`${name} (${mode})`, { program: "scenario", ...rest, fresh }, async ({ server, names }) => {
      const run = new Scenario({ server, names, mode, nsp });
      try {
        // Copied before the clients go, whose farewells are no part of the script.
        return names.apply((await script(run)) ?? run.transcript());
      } finally {
        run.end();
      }
    });
  }
}
