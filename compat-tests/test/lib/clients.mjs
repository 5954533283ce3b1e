// Stock clients in other languages as child processes: one JSON text per line, commands on their stdin, what happens on stdout.
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../clients", import.meta.url));
const python = path.join(root, "python");
const java = path.join(root, "java");
const patience = 60_000; // ms; a machine that does much else starts Java slowly

/** Runs a step whose failure the hint explains. */
export function step(hint, program, args, options = {}) {
  try {
    execFileSync(program, args, { stdio: ["ignore", "ignore", "inherit"], ...options });
  } catch (error) {
    throw new Error(hint, { cause: error });
  }
}

export function works(program, args) {
  try {
    execFileSync(program, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** Installs Debian packages, if this process may do so. */
export function install(hint, ...names) {
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) throw new Error(hint);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  step(hint, "apt-get", ["update", "-qq"], { env });
  step(hint, "apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...names], { env });
}

/** Builds a directory anew when the files that it is made of have changed. */
export function build(directory, sources, make) {
  const sum = createHash("sha256");
  for (const source of sources) sum.update(readFileSync(source));
  const stamp = path.join(directory, ".sum");
  const wanted = sum.digest("hex");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  make(directory);
  writeFileSync(stamp, wanted);
}

function providePython() {
  const requirements = path.join(python, "requirements.txt");
  build(path.join(python, "venv"), [requirements], (venv) => {
    const hint = "The tests of Python's client need Python 3 with venv: run `apt-get install python3-venv` as root.";
    if (!works("python3", ["-m", "ensurepip", "--version"])) install(hint, "python3-venv");
    step(hint, "python3", ["-m", "venv", venv]);
    const packages = "The packages of clients/python/requirements.txt could not be installed by pip.";
    step(packages, path.join(venv, "bin/pip"), ["install", "-q", "--disable-pip-version-check", "-r", requirements]);
  });
}

function provideJava() {
  const source = path.join(java, "Client.java");
  const pom = path.join(java, "pom.xml");
  build(path.join(java, "target"), [pom, source], (target) => {
    const hint = "The tests of Java's client need a JDK and Maven: run `apt-get install default-jdk-headless maven` as root.";
    if (!works("javac", ["-version"]) || !works("mvn", ["-version"])) install(hint, "default-jdk-headless", "maven");
    const lib = path.join(target, "lib");
    const packages = "Maven could not fetch what clients/java/pom.xml names.";
    step(packages, "mvn", ["-q", "-B", "-f", pom, "dependency:copy-dependencies", `-DoutputDirectory=${lib}`]);
    step("Client.java does not compile.", "javac", ["-cp", `${lib}/*`, "-d", path.join(target, "classes"), source]);
  });
}

/** Installs what the clients need; it takes longer than a test may. */
export function provideClients() {
  providePython();
  provideJava();
}

const programs = {
  "python, sync": (url, transport) => [path.join(python, "venv/bin/python"), path.join(python, "client.py"), url, transport, "sync"],
  "python, asyncio": (url, transport) => [path.join(python, "venv/bin/python"), path.join(python, "client.py"), url, transport, "asyncio"],
  java: (url, transport) => ["java", "-cp", `${java}/target/lib/*:${java}/target/classes`, "Client", url, transport],
};

/** Every pair of client and transport. */
export const pairs = Object.keys(programs).flatMap((name) => ["polling", "websocket"].map((transport) => ({ name, transport })));

export class ForeignClient {
  events = []; // [name, ...arguments]
  times = []; // of each, see performance.now
  #errors = "";

  constructor({ name, transport }, url) {
    this.name = `${name}, ${transport}`;
    const [program, ...args] = programs[name](url, transport);
    this.child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
    this.ended = new Promise((resolve) => this.child.once("close", resolve));
    this.child.stderr.on("data", (data) => (this.#errors = (this.#errors + data).slice(-4000)));
    readline.createInterface({ input: this.child.stdout }).on("line", (line) => {
      this.events.push(JSON.parse(line));
      this.times.push(performance.now());
      this.child.emit("event");
    });
  }

  /** Waits for the nth event of a name, and returns its place. */
  async wait(name, n = 1, limit = patience) {
    const found = () => this.events.map((event, i) => (event[0] === name ? i : -1)).filter((i) => i >= 0)[n - 1];
    const until = performance.now() + limit;
    while (found() === undefined) {
      if (this.child.exitCode !== null || performance.now() > until) {
        throw new Error(`${this.name}: no ${name} number ${n}; have ${JSON.stringify(this.events).slice(-1000)}\n${this.#errors}`);
      }
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 200);
        this.child.once("event", () => (clearTimeout(timer), resolve()));
      });
    }
    return found();
  }

  /** Gives a command: ["emit", event, ...] or ["call", event, ...]. */
  send(...command) {
    this.child.stdin.write(`${JSON.stringify(command)}\n`);
  }

  /** Lets it disconnect by its own will, and waits for its end. */
  async leave() {
    this.child.stdin.end();
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 20_000);
    await this.ended;
    clearTimeout(timer);
  }

  kill() {
    this.child.kill("SIGKILL");
  }
}
