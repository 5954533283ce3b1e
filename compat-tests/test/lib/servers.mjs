// The two sides of every comparison, as child processes: the npm reference and
// the Go server. Both take the same flags and print the address they listen on.
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const programs = path.join(root, "..", "bin");

// COMPAT_SUBJECT=reference compares the reference with itself: a check of the tests.
export const selfCheck = process.env.COMPAT_SUBJECT === "reference";

const commands = {
  reference: {
    serve: [process.execPath, path.join(root, "reference/serve.mjs"), "serve"],
    scenario: [process.execPath, path.join(root, "reference/scenario.mjs")],
  },
  sockeye: {
    serve: [process.env.SOCKEYE_BIN ? path.resolve(process.env.SOCKEYE_BIN) : path.join(programs, "sockeye"), "serve", "--addr", "127.0.0.1:0"],
    scenario: [process.env.SCENARIO_BIN ? path.resolve(process.env.SCENARIO_BIN) : path.join(programs, "compat-scenario")],
  },
};

export const sides = ["reference", "sockeye"];

/** Starts `program` ("serve" or "scenario") of a side and waits for its address. */
export async function start(side, program, args) {
  const [command, ...fixed] = commands[selfCheck ? "reference" : side][program];
  // There is no load balancer that would have to learn of the end.
  const env = { SOCKEYE_DRAIN_GRACE: "0s", ...process.env };
  const child = spawn(command, [...fixed, ...args], { stdio: ["pipe", "pipe", "pipe"], env });
  const server = new ServerProcess(side, child);
  await server.listening;
  return server;
}

class ServerProcess {
  constructor(side, child) {
    this.side = side;
    this.child = child;
    this.exited = once(child, "exit").catch(() => {});
    this.output = [];
    this.listening = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${side}: no address after 30 s\n${this.output.join("\n")}`)), 30000);
      const found = (line) => {
        const match = /^listening (\S+):(\d+)$/.exec(line) ?? /\bmsg=listening\b.*\baddr=(\S+):(\d+)/.exec(line);
        if (!match) return false;
        clearTimeout(timer);
        this.addr = { host: match[1], port: Number(match[2]) };
        this.url = `http://${match[1]}:${match[2]}`;
        resolve();
        return true;
      };
      child.on("error", reject);
      child.on("exit", (code, signal) => reject(new Error(`${side} ended (${code ?? signal})\n${this.output.join("\n")}`)));
      readline.createInterface({ input: child.stdout }).on("line", (line) => {
        if (!found(line)) (this.onLine ?? ((l) => this.#keep(l)))(line);
      });
      readline.createInterface({ input: child.stderr }).on("line", (line) => {
        this.#keep(line);
        found(line);
      });
    });
    this.listening.catch(() => {});
  }
  #keep(line) {
    this.output.push(line);
    if (this.output.length > 200) this.output.shift();
  }
  send(line) {
    this.child.stdin.write(line + "\n");
  }
  /** Ends the process: SIGTERM, then SIGKILL after three seconds. Returns {code, signal}. */
  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill("SIGTERM");
      const timer = setTimeout(() => this.child.kill("SIGKILL"), 3000);
      await this.exited;
      clearTimeout(timer);
    }
    return { code: this.child.exitCode, signal: this.child.signalCode };
  }
}

const pool = new Map();

/** A server shared by the tests of one file that ask for the same flags. */
export function shared(side, program, args) {
  const key = JSON.stringify([side, program, args]);
  if (!pool.has(key)) pool.set(key, start(side, program, args));
  return pool.get(key);
}

/** To be registered once a file: after(stopShared). */
export async function stopShared() {
  const servers = await Promise.allSettled(pool.values());
  pool.clear();
  await Promise.all(servers.map((s) => s.value?.stop()));
}
