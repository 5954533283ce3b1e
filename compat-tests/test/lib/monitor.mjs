// What a Redis executes, as MONITOR tells it.
import net from "node:net";
import readline from "node:readline";
import { createClient } from "redis";
import { until } from "./mixed.mjs";

/** Collects commands from now on: {name, args}, names in upper case. */
export class Monitor {
  commands = [];
  static async open(url) {
    const monitor = new Monitor();
    monitor.client = await createClient({ url }).connect();
    const { hostname, port } = new URL(url);
    monitor.socket = net.connect(Number(port), hostname);
    monitor.socket.on("error", () => {}); // the test waits for what does not come
    readline.createInterface({ input: monitor.socket }).on("line", (line) => {
      const words = wordsOf(line);
      if (words.length > 0) monitor.commands.push({ name: words[0].toUpperCase(), args: words.slice(1) });
    });
    monitor.socket.write("MONITOR\r\n");
    await monitor.sync();
    return monitor;
  }
  /** Waits until everything has been read that was executed before. */
  async sync() {
    const mark = `mark ${Math.random()}`;
    await until("the monitor tells of a command", async () => {
      await this.client.echo(mark);
      return this.commands.some(({ name, args }) => name === "ECHO" && args[0] === mark);
    });
  }
  /** Forgets what was executed before. */
  async clear() {
    await this.sync();
    this.commands.length = 0;
  }
  /** The messages that were published since then: {channel, text}. */
  async published() {
    await this.sync();
    return this.commands.filter(({ name }) => /^S?PUBLISH$/.test(name)).map(({ args: [channel, text] }) => ({ channel, text }));
  }
  /** How many connections hear a channel, by its name or by a pattern. */
  async listeners(channel) {
    const count = async (command) => Number((await this.client.sendCommand(["PUBSUB", command, channel]))[1]);
    const [plain, sharded, patterns] = [await count("NUMSUB"), await count("SHARDNUMSUB"), await this.client.sendCommand(["PUBSUB", "NUMPAT"])];
    return { plain, sharded, patterns };
  }
  async close() {
    this.socket.destroy();
    await this.client.disconnect();
  }
}

/** The words of a line such as: +1700000000.123456 [0 127.0.0.1:1234] "PUBLISH" "channel" "a \"word\"" */
function wordsOf(line) {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, word]) => word.replace(/\\(x[0-9a-f]{2}|.)/g, (_, c) => unescaped[c] ?? (c.length > 1 ? String.fromCharCode(parseInt(c.slice(1), 16)) : c)));
}

const unescaped = { n: "\n", r: "\r", t: "\t", a: "\x07", b: "\b" };
