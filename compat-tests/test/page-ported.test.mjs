// The ported apps of examples/ported in Chromium: two pages each that see each other's work.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Window } from "./lib/browser.mjs";
import { Example } from "./lib/example.mjs";

let browser;
before(async () => (browser = await launch()), { timeout: 300_000 });
after(() => browser?.close());

/** Plays script with an app that listens and with what opens windows of it; nothing may go wrong in one. */
function play(name, app, script, args = () => undefined) {
  test(name, { timeout: 180_000 }, async () => {
    const windows = [];
    const example = await Example.start(app, args());
    try {
      await script(async (query = "") => {
        const window = await Window.open(browser, example.url, { query });
        windows.push(window);
        return window;
      }, example);
      for (const { problems } of windows) assert.deepEqual(problems, []);
    } finally {
      await Promise.all(windows.map((window) => window.close()));
      await example.stop();
    }
  });
}

/** The colour of a spot of the whiteboard as [red, green, blue, alpha]. */
const spot = (window, x, y) =>
  window.find("#board").evaluate((board, [x, y]) => [...board.getContext("2d").getImageData(x * board.width, y * board.height, 1, 1).data], [x, y]);

play("whiteboard: a line appears in the other window", "whiteboard", async (open) => {
  const [ann, bob] = await Promise.all([open(), open()]);
  for (const window of [ann, bob]) await window.find("#state").getByText("connected", { exact: true }).waitFor();
  await bob.page.setViewportSize({ width: 640, height: 400 });
  await ann.find("#color").fill("#ff0000");
  const { mouse } = ann.page;
  await mouse.move(0.25 * 1280, 0.5 * 800);
  await mouse.down();
  await mouse.move(0.75 * 1280, 0.5 * 800, { steps: 10 });
  await mouse.up();
  await bob.page.waitForFunction(() => {
    const board = document.getElementById("board");
    return board.getContext("2d").getImageData(0.74 * board.width, 0.5 * board.height, 1, 1).data[3] > 0;
  });
  for (const window of [ann, bob]) {
    assert.deepEqual(await spot(window, 0.5, 0.5), [255, 0, 0, 255]);
    assert.deepEqual(await spot(window, 0.5, 0.25), [0, 0, 0, 0], "nobody drew here");
  }
});

play("messaging: messages, an absence and a reload", "messaging", async (open) => {
  const enter = async (name) => {
    const window = await open();
    await window.page.getByLabel("Your name").fill(name);
    await window.page.getByRole("button", { name: "Enter" }).click();
    await window.page.getByRole("button", { name: `${name} (you)` }).waitFor();
    return window;
  };
  const user = (window, name) => window.find("#users").getByRole("button", { name });
  const write = async (window, text) => {
    await window.page.getByLabel("Message").fill(text);
    await window.page.getByRole("button", { name: "Send" }).click();
  };
  const [ann, bob] = [await enter("Ann"), await enter("Bob")];
  const eve = await enter("Eve");
  await user(ann, "Bob").click();
  await write(ann, "Hello <b>Bob</b>");
  await bob.find("#users .new").getByText("Ann").click();
  await bob.find("#messages").getByText("Hello <b>Bob</b>", { exact: true }).waitFor();
  await write(bob, "Hello Ann");
  await ann.find("#messages").getByText("Hello Ann", { exact: true }).waitFor();

  // A reload is an absence, after which the same user is back with the messages.
  await bob.page.goto("about:blank");
  await user(ann, "Bob (away)").waitFor();
  await write(ann, "Are you there?");
  await user(ann, "Eve").click();
  await bob.page.goBack();
  await user(ann, /^Bob$/).waitFor();
  await user(bob, "Ann").click();
  await bob.find("#messages").getByText("Are you there?", { exact: true }).waitFor();
  assert.deepEqual(await bob.find("#messages li").allTextContents(), ["Hello <b>Bob</b>", "Hello Ann", "Are you there?"]);
  assert.deepEqual(await bob.find("#users button").allTextContents(), ["Ann", "Bob (you)", "Eve"]);

  await user(eve, "Ann").click();
  assert.deepEqual(await eve.find("#messages li").allTextContents(), []);
});

play("editor: y-socket.io of npm, with text, cursors, names and a stretch without the server", "editor", async (open) => {
  const here = async (window) => {
    await window.find("#state").getByText("connected", { exact: true }).waitFor();
    await window.find("#text:enabled").waitFor();
  };
  const has = (window, text) => window.page.waitForFunction((text) => document.getElementById("text").value === text, text);
  const ann = await open();
  await here(ann);
  await ann.find("#text").pressSequentially("Salmon swim.");
  const bob = await open();
  await here(bob);
  await has(bob, "Salmon swim.");

  // Both write at once, each at another place; nothing is lost, and a cursor stays where it is in the text.
  const at = (window, place) => window.find("#text").evaluate((field, place) => (field.focus(), field.setSelectionRange(place, place)), place);
  await Promise.all([at(ann, 0), at(bob, 11)]);
  await Promise.all([ann.page.keyboard.type("Red "), bob.page.keyboard.type(" upstream 🐟")]);
  for (const window of [ann, bob]) await has(window, "Red Salmon swim upstream 🐟.");

  await ann.page.getByLabel("Your name").fill("Ann");
  await bob.find("#people").getByText("Ann", { exact: true }).waitFor();

  // What is written without a connection comes along with the next one.
  await bob.context.setOffline(true);
  await bob.find("#state").getByText("disconnected").waitFor({ timeout: 90_000 });
  await bob.find("#text").press("End");
  await bob.page.keyboard.type(" Always.");
  await ann.find("#text").press("End");
  await ann.page.keyboard.type(" Really.");
  await bob.context.setOffline(false);
  await here(bob);
  await ann.page.waitForFunction(() => /Really\..* Always\.|Always\..* Really\./.test(document.getElementById("text").value));
  const text = await ann.find("#text").inputValue();
  await has(bob, text);

  const late = await open();
  await has(late, text);
  await late.find("#people").getByText("Ann", { exact: true }).waitFor();
  await ann.page.goto("about:blank");
  await late.find("#people").getByText("Ann", { exact: true }).waitFor({ state: "detached" });
}, () => ["-front", Example.page("editor")]);
