// A real Redis server of a test's own, on a free loopback port, that keeps nothing on disk.
import { spawn } from "node:child_process";
import { once } from "node:events";
import readline from "node:readline";
import { provide } from "./install.mjs";
import { freePort } from "./port.mjs";

const executable = process.env.REDIS_BIN ?? "/usr/bin/redis-server";

export function provideRedis() {
  provide({ what: "The tests of clusters", program: executable, name: "redis-server", variable: "REDIS_BIN" });
}

/** Starts a server and waits until it accepts connections: {url, version, stop()}. */
export async function startRedis() {
  provideRedis();
  const port = await freePort();
  const child = spawn(executable, ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"], { stdio: ["ignore", "pipe", "ignore"] });
  const exited = once(child, "exit");
  const output = [];
  let version;
  for await (const line of readline.createInterface({ input: child.stdout })) {
    output.push(line);
    version ??= /\bversion=([\d.]+)/.exec(line)?.[1];
    if (/ready to accept connections/i.test(line)) break;
  }
  if (child.exitCode !== null) throw new Error(`redis-server ended\n${output.join("\n")}`);
  child.stdout.resume();
  return {
    url: `redis://127.0.0.1:${port}`,
    version,
    async stop() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}
