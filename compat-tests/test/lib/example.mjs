// Programs of examples/ported, built and started.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "./port.mjs";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const patience = 30_000; // ms, used up only by a test that fails
const bundle = path.join(root, "compat-tests", "node_modules", "socket.io-client", "dist");

export class Example {
  #child;
  #dir;

  /** Builds the page of examples/ported/NAME from what npm publishes. */
  static page(name) {
    const front = path.join(root, "examples", "ported", name, "front");
    execFileSync("npm", ["ci", "--ignore-scripts", "--silent", "--no-audit", "--no-fund"], { cwd: front, stdio: "inherit" });
    execFileSync("npm", ["run", "--silent", "build"], { cwd: front, stdio: "inherit" });
    return path.join(front, "dist");
  }

  /** Builds examples/ported/NAME and starts it on a port of its own; it is there once it answers. */
  static async start(name, args = ["-client", bundle]) {
    const self = new Example();
    self.#dir = mkdtempSync(path.join(tmpdir(), "ported-"));
    const program = path.join(self.#dir, name);
    execFileSync("go", ["build", "-o", program, `./examples/ported/${name}`], { cwd: root, stdio: "inherit" });
    const port = await freePort();
    self.url = `http://127.0.0.1:${port}/`;
    self.#child = spawn(program, ["-addr", `127.0.0.1:${port}`, ...args], { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
    const deadline = Date.now() + patience;
    while (!(await fetch(self.url).then((answer) => answer.ok, () => false))) {
      if (self.#child.exitCode !== null || Date.now() > deadline) {
        await self.stop();
        throw new Error(`${name} does not answer`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return self;
  }

  /** Ends the program as Ctrl-C does; it must end well. */
  async stop() {
    if (this.#child.exitCode === null) {
      this.#child.kill("SIGINT");
      const timer = setTimeout(() => this.#child.kill("SIGKILL"), patience);
      await once(this.#child, "exit");
      clearTimeout(timer);
    }
    rmSync(this.#dir, { recursive: true });
    if (this.#child.exitCode !== 0) throw new Error(`the program ended with status ${this.#child.exitCode ?? this.#child.signalCode}`);
  }
}
