// The chat page in Chromium, with tokens: given away for demonstrations, pasted, and none.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { freePort, launch, Node, Window } from "./lib/browser.mjs";

const dir = mkdtempSync(path.join(tmpdir(), "page-auth-"));
const key = path.join(dir, "key");
const binary = process.env.SOCKEYE_BIN ?? path.join(fileURLToPath(new URL("../..", import.meta.url)), "bin", "sockeye");

describe("the chat page with tokens", () => {
  let browser;
  const running = [];

  before(async () => {
    writeFileSync(key, "a secret of these tests, longer than 32 bytes\n");
    browser = await launch();
  }, { timeout: 300_000 });

  after(async () => {
    await browser?.close();
    await Promise.all(running.map((node) => node.stop()));
    rmSync(dir, { recursive: true });
  });

  async function serve(...args) {
    const node = new Node(await freePort(), args);
    running.push(node);
    await node.start();
    return node;
  }

  test("demo tokens: two users talk, and one is back after the node was started anew", { timeout: 120_000 }, async () => {
    const node = await serve("--auth", "jwt", "--jwt-key", key, "--demo-tokens");
    const [ann, bob] = await Promise.all(["Ann", "Bob"].map(async (user) => {
      const window = await Window.open(browser, node.url);
      assert.match(await window.find("#login-lead").textContent(), /the server gives you a token/);
      await window.login(user);
      return window;
    }));
    await ann.row("Bob").waitFor();
    await ann.open("Bob");
    await ann.write("Hello Bob");
    await ann.state("Hello Bob", "delivered");
    await bob.open("Ann");
    await bob.message("Hello Bob");
    await node.stop();
    await node.start();
    await bob.write("Are you still there?");
    await ann.message("Are you still there?");
    // Whoever reloads the page is in again.
    await ann.page.reload();
    await ann.find("#shell").waitFor();
    for (const window of [ann, bob]) {
      assert.deepEqual(window.problems, []);
      await window.close();
    }
  });

  test("a token that one has: a bad one is refused, a good one is a name", { timeout: 60_000 }, async () => {
    const node = await serve("--auth", "jwt", "--jwt-key", key);
    const window = await Window.open(browser, node.url);
    await window.page.getByLabel("Your token").fill("nonsense");
    await window.page.getByRole("button", { name: "Log in" }).click();
    await window.find("#login-error").getByText("token is invalid").waitFor();
    const token = execFileSync(binary, ["token", "--jwt-key", key, "--user", "Zoë"], { encoding: "utf8" }).trim();
    await window.page.getByLabel("Your token").fill(token);
    await window.page.getByRole("button", { name: "Log in" }).click();
    await window.find("#me").getByText("Zoë").waitFor();
    await window.open("#lobby");
    assert.deepEqual(window.problems, []);
    await window.close();
  });

  test("without authentication the page says that logins are not verified", { timeout: 60_000 }, async () => {
    const node = await serve();
    const window = await Window.open(browser, node.url);
    assert.match(await window.find("#login-lead").textContent(), /logins are not verified/);
    assert.deepEqual(window.problems, []);
    await window.close();
  });
});
