// Emitters that are not ours as child processes: one JSON text per line, what to send on their stdin, a line for each on stdout.
import { spawn } from "node:child_process";
import { cpSync } from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { build, install, step, works } from "./clients.mjs";

const root = fileURLToPath(new URL("../../senders", import.meta.url));
const venv = path.join(root, "python/venv");
const npm = path.join(root, "npm/package");

function providePython() {
  const requirements = path.join(root, "python/requirements.txt");
  build(venv, [requirements], () => {
    const hint = "The tests of Python's emitter need Python 3 with venv: run `apt-get install python3-venv` as root.";
    if (!works("python3", ["-m", "ensurepip", "--version"])) install(hint, "python3-venv");
    step(hint, "python3", ["-m", "venv", venv]);
    const packages = "The packages of senders/python/requirements.txt could not be installed by pip.";
    step(packages, path.join(venv, "bin/pip"), ["install", "-q", "--disable-pip-version-check", "-r", requirements]);
  });
}

function provideNpm() {
  // In a directory of its own: above it is another version of the same packages.
  const files = ["package.json", "sender.cjs"];
  build(npm, files.map((file) => path.join(root, "npm", file)), () => {
    for (const file of files) cpSync(path.join(root, "npm", file), path.join(npm, file));
    step("npm could not install what senders/npm/package.json names.", "npm", ["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"], { cwd: npm });
  });
}

function providePHP() {
  if (works("php", ["-r", 'exit(extension_loaded("redis") && extension_loaded("msgpack") ? 0 : 1);'])) return;
  install("The tests of PHP's emitter need PHP: run `apt-get install php-cli php-redis php-msgpack` as root.", "php-cli", "php-redis", "php-msgpack");
}

/** Installs what the senders need; it takes longer than a test may. */
export function provideSenders() {
  providePython();
  provideNpm();
  providePHP();
}

const programs = {
  "pip socket.io-emitter": [path.join(venv, "bin/python"), path.join(root, "python/sender.py")],
  "npm socket.io-emitter": [process.execPath, path.join(npm, "sender.cjs")],
  PHP: ["php", path.join(root, "php/sender.php")],
};

export const senders = Object.keys(programs);

export class Sender {
  #waiting = [];
  #errors = "";

  constructor(name, redis, key, namespace) {
    this.name = name;
    const [program, ...args] = programs[name];
    const { hostname, port } = new URL(redis.url);
    this.child = spawn(program, [...args, hostname, port, key, namespace], { stdio: ["pipe", "pipe", "pipe"] });
    this.child.stderr.on("data", (data) => (this.#errors = (this.#errors + data).slice(-4000)));
    readline.createInterface({ input: this.child.stdout }).on("line", () => this.#waiting.shift()?.resolve());
    this.child.stdin.on("error", () => {}); // it has ended, which is told below
    this.child.once("close", () => this.#fail());
  }

  /** Sends {args, rooms, flags}; resolves when Redis has it. */
  send(order) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      if (this.child.exitCode !== null) this.#fail();
      else this.child.stdin.write(`${JSON.stringify(order)}\n`);
    });
  }

  #fail() {
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(`${this.name} ended\n${this.#errors}`));
  }

  kill() {
    this.child.kill("SIGKILL");
  }
}
