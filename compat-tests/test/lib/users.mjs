// Nodes of the chat on one Redis, with users that keep count of what they get.
import assert from "node:assert/strict";
import { io } from "socket.io-client";
import { until } from "./mixed.mjs";
import { start } from "./servers.mjs";

/** One cluster for each adapter. */
export const adapters = ["pubsub", "sharded", "streams"];

export function flags(redis, adapter, key) {
  return ["--redis", redis.url, "--adapter", adapter, "--key", key, ...(adapter === "streams" ? ["--stream-name", key] : [])];
}

/** A cluster whose nodes come and go. They are ended by stop(), with the sockets of its users. */
export class Chat {
  nodes = [];
  sockets = [];
  constructor(redis, adapter, key) {
    this.flags = flags(redis, adapter, key);
  }
  /** Starts nodes: "sockeye" or "reference", with the chat or another program. */
  async start(side, names, program = "serve", args = ["--app", "chat"]) {
    const named = (name) => (side === "sockeye" && program === "serve" ? ["--node-name", name] : []);
    const started = await Promise.allSettled(names.map((name) => start(side, program, [...args, ...this.flags, ...named(name)])));
    const nodes = started.flatMap((result) => result.value ?? []);
    this.nodes.push(...nodes);
    for (const { reason } of started) if (reason) throw reason;
    return nodes;
  }
  /** Waits until the directories of Sockeye nodes say whether there are nodes that keep none. */
  async knowsOthers(nodes, some) {
    await until(`the directories know that ${some ? "some nodes keep none" : "every node keeps one"}`, () => nodes.every((node) => mixedAsLogged(node) === some)).catch((error) => {
      error.message += nodes.map((node) => "\n" + node.output.slice(-10).join("\n")).join("\n");
      throw error;
    });
  }
  /** A socket that has logged in. */
  async login(node, user) {
    const socket = new Device(node, user);
    this.sockets.push(socket);
    await socket.ask("login", user);
    return socket;
  }
  async stop() {
    for (const { socket } of this.sockets) socket.disconnect();
    await Promise.all(this.nodes.map((node) => node.stop()));
  }
}

// Until a directory knows it supposes that there are some, and logs nothing.
function mixedAsLogged(node) {
  const line = node.output.findLast((line) => line.includes("nodes that do not keep the directory of users"));
  return line === undefined || /"there are some"=true/.test(line);
}

/** One socket of a user, with everything that it was sent. */
export class Device {
  received = []; // first arguments of receive
  events = []; // everything else: [name, ...args]
  constructor(node, user) {
    Object.assign(this, { node, user });
    this.socket = io(node.url, { transports: ["websocket"], forceNew: true, reconnection: false });
    this.socket.on("receive", (message) => this.received.push(message));
    this.socket.onAny((name, ...args) => name === "receive" || this.events.push([name, ...args]));
  }
  ask(...args) {
    return this.socket.timeout(15_000).emitWithAck(...args);
  }
  send(to, message) {
    return this.ask("send", { to, message });
  }
  /** Waits until the socket was sent these messages, in any order, and has nothing else. */
  async expect(messages) {
    const want = [...messages].sort();
    await until(`${this.user} has ${want.length} messages`, () => this.received.length >= want.length).catch(() => {}); // the comparison says what there is
    assert.deepEqual([...this.received].sort(), want, `${this.user} on ${this.node.url}`);
    this.received.length = 0;
  }
}
