// `make cluster` without the build: Redis, three nodes and nginx on free ports.
import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { fileURLToPath } from "node:url";
import { freePort } from "./browser.mjs";

const script = fileURLToPath(new URL("../../../deploy/cluster.sh", import.meta.url));
const patience = 60_000; // ms; the script may have to install nginx first

export class Cluster {
  log = "";
  nodes = new Map(); // name -> { url, pid }

  /** Starts the script with variables of its own, and does not wait for it. */
  static run(variables) {
    const cluster = new Cluster();
    cluster.child = spawn(script, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...variables } });
    cluster.ended = once(cluster.child, "exit");
    for (const stream of [cluster.child.stdout, cluster.child.stderr]) {
      stream.on("data", (data) => {
        cluster.log += data;
        cluster.child.emit("line");
      });
    }
    return cluster;
  }

  /** Starts it on free ports and waits until it says that all of it runs. */
  static async start(variables = {}) {
    const ports = [];
    while (ports.length < 5) {
      const port = await freePort();
      if (!ports.includes(port)) ports.push(port);
    }
    const [front, redis, ...nodes] = ports;
    const cluster = Cluster.run({ PORT: String(front), REDIS_PORT: String(redis), NODE_PORTS: nodes.join(" "), ...variables });
    cluster.ports = ports;
    cluster.variables = { PORT: String(front), REDIS_PORT: String(redis), NODE_PORTS: nodes.join(" ") };
    cluster.url = `http://127.0.0.1:${front}/`;
    await cluster.says(/Ctrl-C stops everything/);
    for (const [, name, url, pid] of cluster.log.matchAll(/(node-\d)\s+(\S+)\s+process (\d+)/g)) {
      cluster.nodes.set(name, { url: url.replace("localhost", "127.0.0.1"), pid: Number(pid) });
    }
    cluster.redis = Number(/redis\s.*process (\d+)/.exec(cluster.log)?.[1]);
    return cluster;
  }

  /** Waits until the script has printed something. */
  async says(pattern) {
    const timer = setTimeout(() => this.child.emit("late"), patience);
    try {
      while (!pattern.test(this.log)) {
        await new Promise((resolve, reject) => {
          const settle = (f) => () => {
            for (const event of ["line", "exit", "late"]) this.child.off(event, on[event]);
            f();
          };
          const fail = () => reject(new Error(`the cluster did not say ${pattern}:\n${this.log}`));
          const on = { line: settle(resolve), exit: settle(fail), late: settle(fail) };
          for (const event of ["line", "exit", "late"]) this.child.on(event, on[event]);
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends it as Ctrl-C does; returns the exit status. */
  async stop() {
    if (this.child.exitCode === null) this.child.kill("SIGINT");
    const [code] = await this.ended;
    return code;
  }
}

/** Whether something listens on a port. */
export function listens(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    socket.once("connect", () => (socket.destroy(), resolve(true)));
    socket.once("error", () => resolve(false));
  });
}
