// docs/compatibility.md: which cells of the mixed matrix passed, and with which versions.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const target = fileURLToPath(new URL("../../../docs/compatibility.md", import.meta.url));
const { dependencies } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url)));
const packages = ["socket.io", "@socket.io/redis-adapter", "@socket.io/redis-streams-adapter", "@socket.io/redis-emitter", "redis", "socket.io-client"];
const marks = { true: "\u2713", false: "**\u2717**", undefined: "" };

export class Report {
  #results = new Map();
  redis = "?";
  constructor({ rows, flavours, directions }) {
    Object.assign(this, { rows, flavours, directions });
  }
  #key(row, flavour, direction) {
    return JSON.stringify([row.name, flavour.name, direction]);
  }
  set(row, flavour, direction, passed) {
    this.#results.set(this.#key(row, flavour, direction), passed);
  }
  #marks(row, flavour) {
    return this.directions.map((direction) => marks[this.#results.get(this.#key(row, flavour, direction))]);
  }
  #versions() {
    const go = /go1[\d.]+/.exec(execFileSync("go", ["version"], { encoding: "utf8" }))[0];
    return [`Node.js ${process.versions.node.split(".")[0]}`, go.replace("go", "Go "), `Redis ${this.redis}`, ...packages.map((name) => `${name} ${dependencies[name]}`)];
  }
  /** Writes the table, unless some row has not run, as when only some tests were asked for. */
  write() {
    const whole = this.rows.every((row) => this.flavours.every((flavour) => !this.#marks(row, flavour).includes(marks.undefined)));
    if (whole) writeFileSync(target, `${this.#text()}\n`);
  }
  #text() {
    const notes = this.rows.filter((row) => row.note);
    const title = (row) => (row.note ? `${row.name} [${notes.indexOf(row) + 1}]` : row.name);
    const table = [
      ["", ...this.flavours.map((flavour) => flavour.name)],
      ["---", ...this.flavours.map(() => ":-:")],
      ...this.rows.map((row) => [title(row), ...this.flavours.map((flavour) => this.#marks(row, flavour).join(" "))]),
    ];
    return [
      "# Go and Node nodes in one cluster",
      "",
      "Written by `make compat`; do not edit.",
      "",
      "A row is a script that acts at one node of a cluster and records what the clients of both nodes see. It runs between",
      "two Node nodes and at the same time in the mixed clusters, on one Redis. The marks of a cell stand for",
      `${this.directions.join(", ")}, in this order: \u2713 means that these nodes recorded the same as the two Node`,
      "nodes, down to every value. The scripts are `compat-tests/test/mixed-rows-*.mjs`. In the rows named \"emitter\" an",
      "emitter of the first language acts, and the node of the second has the clients.",
      "",
      `Tested with ${this.#versions().join(", ")}.`,
      "",
      "There is no npm emitter for the sharded adapter, where a Node server stands in for one; that of the streams adapter is",
      "imitated by its stream entries.",
      "",
      ...table.map((cells) => `| ${cells.join(" | ")} |`),
      "",
      ...notes.map((row, i) => `${i + 1}. ${row.note}`),
    ].join("\n");
  }
}
