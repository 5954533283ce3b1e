// Two nodes of one cluster: a script acts at one of them and records what the clients of both saw.
import { Scenario } from "./scenario.mjs";
import { start } from "./servers.mjs";
import { Names } from "./transcript.mjs";

const PATIENCE = 10_000; // ms, used up only by a test that fails

/** Whether every cell is wanted, which takes minutes, or a selection. */
export const full = process.env.COMPAT_FULL === "1";

/** The adapters and their options; each is a cluster of its own on the same Redis. */
export const flavours = [
  { name: "pubsub", adapter: "pubsub" },
  { name: "pubsub, specific response channel", adapter: "pubsub", args: ["--publish-on-specific-response-channel"] },
  { name: "pubsub, JSON", adapter: "pubsub", args: ["--redis-parser", "json"] },
  { name: "sharded static", adapter: "sharded", args: ["--subscription-mode", "static"] },
  { name: "sharded dynamic", adapter: "sharded", args: ["--subscription-mode", "dynamic"] },
  { name: "sharded dynamic-private", adapter: "sharded", args: ["--subscription-mode", "dynamic-private"] },
  { name: "streams", adapter: "streams" },
  { name: "streams, sharded pub/sub", adapter: "streams", args: ["--use-sharded-pub-sub"] },
];

/** Starts nodes of one cluster, for example {node: "reference", go: "sockeye"}, and waits until each hears the others. */
export async function startNodes(redis, flavour, sides) {
  const key = flavour.name.replace(/\W+/g, "-");
  const args = ["--redis", redis.url, "--adapter", flavour.adapter, "--key", key, "--stream-name", key, ...(flavour.args ?? [])];
  const names = Object.keys(sides);
  const started = await Promise.allSettled(names.map((name) => start(sides[name], "scenario", args)));
  const servers = started.map((result) => result.value);
  const stop = () => Promise.all(servers.map((server) => server?.stop()));
  try {
    for (const { reason } of started) if (reason) throw reason;
    await introduce(servers);
  } catch (err) {
    await stop();
    throw err;
  }
  return { ...Object.fromEntries(names.map((name, i) => [name, servers[i]])), stop };
}

// A node may join a stream later than it listens; from the first entry on it misses none.
async function introduce(servers) {
  const names = new Names();
  const nodes = servers.map((server) => new Scenario({ server, names, mode: "websocket", nsp: "/" }));
  const clients = await Promise.all(nodes.map((node, i) => node.connect(`introduction ${i}`)));
  for (const node of nodes) await Promise.all(clients.map((client) => reach(node, client)));
  for (const node of nodes) node.end();
}

/** Waits until a broadcast of the node arrives at the client. */
async function reach(node, client, fields = {}) {
  const token = `${client.id} ${Math.random()}`;
  const arrived = new Promise((resolve) => {
    client.socket.on("probe", function probe(got) {
      if (got !== token) return;
      client.socket.off("probe", probe);
      resolve(true);
    });
  });
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; ) {
    await node.command("emit", { event: "probe", args: [token], ...fields });
    if (await Promise.race([arrived, later(60)])) return;
  }
  throw new Error(`nothing arrives at ${client.name} with ${JSON.stringify(fields)}\n${node.server.output.slice(-5).join("\n")}`);
}

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Resolves when check() is true of what it returns. */
export async function until(what, check) {
  for (const deadline = Date.now() + PATIENCE; Date.now() < deadline; await later(10)) if (await check()) return;
  throw new Error(`not in ${PATIENCE} ms: ${what}`);
}

/** One run of one script. With `emitter` the node that acts does so from outside, and only the other one has clients. */
export class Cluster {
  #marks = 0;
  constructor({ from, to, nsp, emitter = false }) {
    const names = new Names();
    if (nsp !== "/") names.add(nsp, "namespace");
    Object.assign(this, { nsp, emitter, names });
    this.from = new Scenario({ server: from, names, mode: "websocket", nsp });
    this.to = new Scenario({ server: to, names, mode: "websocket", nsp });
  }
  get clients() {
    return [...this.from.clients, ...this.to.clients];
  }
  /** Serves the namespace at both nodes and connects clients: a's at the acting node, b's at the other. */
  async setUp(...names) {
    // The main namespace is served from the start.
    const create = (node) => (this.nsp === "/" ? undefined : node.create());
    await create(this.to);
    if (!this.emitter) {
      await create(this.from);
      await until("both nodes are counted", async () => (await this.from.command("serverCount")) >= 2 && (await this.to.command("serverCount")) >= 2);
    }
    return Promise.all(names.map((name) => this.connect(name)));
  }
  async connect(name, options) {
    const node = name.startsWith("a") ? this.from : this.to;
    const client = await node.connect(name, options);
    client.mark = 0;
    client.socket.on("mark", (n) => {
      client.mark = n;
      client.onMark?.();
    });
    await this.#heard(client, client.id);
    return client;
  }
  async join(client, ...rooms) {
    for (const room of rooms) {
      await client.ask("join", room);
      await this.#heard(client, room);
    }
  }
  // Node subscribes to the channel of a room without telling when it is done.
  async #heard(client, room) {
    if (this.to.clients.includes(client)) await reach(this.from, client, { to: [room], emitter: this.emitter });
  }
  /** Runs a command at the acting node. */
  do(name, fields = {}) {
    return this.from.command(name, this.emitter ? { emitter: true, ...fields } : fields);
  }
  /** Waits until what the acting node has sent so far has arrived at every client, and what they sent at their nodes. */
  async flush() {
    const mark = ++this.#marks;
    await this.do("emit", { event: "mark", args: [mark] });
    await Promise.all(this.clients.filter((c) => c.socket.connected).map((client) => marked(client, mark)));
    await Promise.all([this.from.settle(), this.to.settle()]);
  }
  rooms(client) {
    const node = this.from.clients.includes(client) ? this.from : this.to;
    return node.command("rooms", { socket: client.id });
  }
  /** Waits until each client is in the room, or is not. */
  inRoom(room, ...clients) {
    return until(`in ${room}: ${clients.map((c) => c.name)}`, async () => {
      const lists = await Promise.all(clients.map((c) => this.rooms(c)));
      return lists.every((list) => list.includes(room));
    });
  }
  notInRoom(room, ...clients) {
    return until(`not in ${room}: ${clients.map((c) => c.name)}`, async () => {
      const lists = await Promise.all(clients.map((c) => this.rooms(c)));
      return !lists.some((list) => list.includes(room));
    });
  }
  /** Waits until everything that the servers have logged so far has been read. */
  heard() {
    return Promise.all([this.from, this.to].map((node) => node.command("sync")));
  }
  transcript(extra = {}) {
    const [from, to] = [this.from, this.to].map((node) => {
      const { clients, server } = node.transcript();
      // What a server logs of the main namespace is not this run's alone.
      return this.nsp === "/" ? { clients } : { clients, server };
    });
    return this.names.apply({ from, to, ...extra });
  }
  end() {
    this.from.end();
    this.to.end();
  }
}

function marked(client, mark) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`mark ${mark} did not arrive at ${client.name}; saw ${JSON.stringify(client.events).slice(0, 2000)}`)), PATIENCE);
    client.onMark = () => {
      if (client.mark < mark) return;
      clearTimeout(timer);
      resolve();
    };
    client.onMark();
  });
}
