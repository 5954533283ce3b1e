// Debian's Chromium, driven by playwright-core: windows of the chat page, and what a user does in them.
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { provide } from "./install.mjs";

export { freePort } from "./port.mjs";

const executable = process.env.CHROMIUM_BIN ?? "/usr/bin/chromium";
const patience = 30_000; // ms, used up only by a test that fails
const binary = process.env.SOCKEYE_BIN ?? path.join(fileURLToPath(new URL("../../..", import.meta.url)), "bin", "sockeye");

/** Installs Chromium if it is missing and this process may do so. */
export function provideChromium() {
  provide({ what: "The page tests", program: executable, name: "chromium", variable: "CHROMIUM_BIN" });
}

/** Starts the browser, without a display and without any connection of its own. */
export async function launch() {
  provideChromium();
  return chromium.launch({
    executablePath: executable,
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

export const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
export const desktop = { viewport: { width: 1280, height: 800 } };

/** `sockeye serve` on a fixed port, which can be stopped and started again. */
export class Node {
  #child = null;
  #args;
  constructor(port, args = []) {
    this.port = port;
    this.#args = args;
    this.url = `http://127.0.0.1:${port}/`;
  }
  async start() {
    const child = spawn(binary, ["serve", "--addr", `127.0.0.1:${this.port}`, ...this.#args], { stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    let log = "";
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the node does not listen\n${log}`)), patience);
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`the node ended with status ${code}\n${log}`)));
      child.stderr.on("data", (data) => {
        log += data;
        if (!log.includes("msg=listening")) return;
        clearTimeout(timer);
        child.removeAllListeners("exit");
        child.stderr.removeAllListeners("data").resume();
        resolve();
      });
    });
  }
  async stop() {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null) return;
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
    await once(child, "exit");
    clearTimeout(timer);
  }
}

/** One window of a user, with cookies and storage of its own. */
export class Window {
  problems = []; // errors on the console, failed scripts, requests to other hosts

  static async open(browser, url, options = {}) {
    const { query = "", ...context } = options;
    const window = new Window();
    window.context = await browser.newContext({ ...desktop, locale: "en-GB", ...context });
    window.page = await window.context.newPage();
    window.page.setDefaultTimeout(patience);
    window.#watch(new URL(url).host);
    await window.page.goto(url + query);
    return window;
  }

  #watch(host) {
    this.page.on("pageerror", (error) => this.problems.push(String(error)));
    this.page.on("console", (message) => {
      // While the server is away every attempt to connect is an error on the console.
      if (message.type() === "error" && !/net::ERR_|WebSocket connection|status of 502/.test(message.text())) this.problems.push(message.text());
    });
    this.page.on("request", (request) => {
      const url = new URL(request.url());
      if (/^(https?|wss?):$/.test(url.protocol) && url.host !== host) this.problems.push(`request to ${request.url()}`);
    });
  }

  find(selector) {
    return this.page.locator(selector);
  }
  async login(user) {
    await this.page.getByLabel("Your name").fill(user);
    await this.page.getByRole("button", { name: "Log in" }).click();
    await this.find("#shell").waitFor();
  }
  /** Opens a conversation or a room by its name. */
  async open(id) {
    if (!(await this.find("#sidebar").isVisible())) await this.page.getByRole("button", { name: "Back to the list" }).click();
    await this.find("#find-text").fill(id);
    await this.find("#find-text").press("Enter");
    await this.find("#thread-name").getByText(id, { exact: true }).waitFor();
  }
  async write(text) {
    await this.find("#text").fill(text);
    await this.find("#send").click();
  }
  /** The row of a conversation, room or person in the lists. */
  row(id) {
    return this.find(`button.item[data-id=${JSON.stringify(id)}]`);
  }
  /** Waits until a message with exactly this text is shown; returns its element. */
  async message(text) {
    const found = this.find("#messages > li").filter({ has: this.page.locator(".text").getByText(text, { exact: true }) });
    await found.last().waitFor();
    return found.last();
  }
  /** Waits until one's own message has reached a state: waiting, sending, delivered, absent or failed. */
  async state(text, state) {
    await this.message(text);
    await this.find(`#messages > li[data-state="${state}"]`).filter({ hasText: text }).last().waitFor();
  }
  /** How far anything reaches over the edge of the window or of its own box, in pixels; what ends in an ellipsis may. */
  overflow() {
    return this.page.evaluate(() => {
      const width = document.documentElement.clientWidth;
      const cut = (e) => e.parentElement && (getComputedStyle(e.parentElement).textOverflow === "ellipsis" || cut(e.parentElement));
      let worst = document.documentElement.scrollWidth - width;
      for (const e of document.querySelectorAll("body *")) {
        if (!e.checkVisibility() || e.closest(".unseen, svg") || cut(e)) continue;
        const { left, right } = e.getBoundingClientRect();
        worst = Math.max(worst, right - width, -left);
        const { textOverflow, display } = getComputedStyle(e);
        if (textOverflow !== "ellipsis" && display !== "inline") worst = Math.max(worst, e.scrollWidth - e.clientWidth - 2);
      }
      return Math.max(0, Math.floor(worst));
    });
  }
  async close() {
    await this.context.close();
  }
}
