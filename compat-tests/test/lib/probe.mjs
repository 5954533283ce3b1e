// Asks the Go programs of compat-tests/cmd that answer one JSON request a line.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));

function run(command, args, input) {
  const result = spawnSync(command, args, { cwd: root, input, encoding: "utf8", maxBuffer: 1 << 30 });
  assert.equal(result.status, 0, `${command} ${args.join(" ")}: ${result.stderr ?? result.error}`);
  return result.stdout;
}

/** Builds a program for the tests of this file; returns the function that asks it all requests at once. */
export function buildProbe(name) {
  const scratch = mkdtempSync(join(tmpdir(), `${name}-`));
  const program = join(scratch, name);
  before(() => run("go", ["build", "-o", program, `./compat-tests/cmd/${name}`]));
  after(() => rmSync(scratch, { recursive: true }));
  return (requests) => {
    const answers = run(program, [], requests.map((r) => JSON.stringify(r) + "\n").join("")).split("\n").slice(0, -1);
    assert.equal(answers.length, requests.length);
    return answers.map((line) => JSON.parse(line));
  };
}
