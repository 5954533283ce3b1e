// The chat page in Chromium: two users in two windows, over every transport, through a restart of the server.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";
import { desktop, freePort, launch, Node, phone, Window } from "./lib/browser.mjs";

// PAGE_SCREENSHOTS=1 takes the pictures of the README anew.
const images = process.env.PAGE_SCREENSHOTS ? fileURLToPath(new URL("../../docs/images/", import.meta.url)) : null;

let browser;
let node;

before(async () => {
  node = new Node(await freePort(), images ? ["--node-name", "river-1"] : []);
  [browser] = await Promise.all([launch(), node.start()]);
}, { timeout: 300_000 });

after(async () => {
  await browser?.close();
  await node?.stop();
});

const scenes = [];

/** Plays script with windows that are closed afterwards and in which nothing may have gone wrong. */
function scene(name, script) {
  scenes.push([name, async () => {
    const windows = [];
    const open = async (user, options = {}) => {
      const window = await Window.open(browser, options.url ?? node.url, options);
      windows.push(window);
      if (user) await window.login(user);
      return window;
    };
    try {
      await script(open);
      for (const { problems } of windows) assert.deepEqual(problems, []);
    } finally {
      await Promise.all(windows.map((w) => w.close()));
    }
  }]);
}

for (const [transport, shown] of [["polling", "HTTP long-polling"], ["websocket", "WebSocket"]]) {
  scene(`two users talk over ${transport} only`, async (open) => {
    const [a, b] = [`Ann ${transport}`, `Bob ${transport}`];
    const [ann, bob] = await Promise.all([a, b].map((user) => open(user, { query: `?transport=${transport}` })));

    // Each sees the other come online.
    await ann.row(b).waitFor();
    await bob.row(a).waitFor();

    // A message to somebody whose window shows something else is counted.
    await ann.row(b).click();
    await ann.write("Hello Bob");
    await ann.state("Hello Bob", "delivered");
    const badge = bob.find("#list-open").locator(bob.row(a)).locator(".badge");
    await badge.getByText("1").waitFor();
    await ann.write("Are you there?");
    await badge.getByText("2").waitFor();
    assert.equal(await bob.page.title(), "(2) Sockeye");

    // Opening it clears the count; the answer arrives.
    await bob.find("#list-open").locator(bob.row(a)).click();
    await bob.message("Hello Bob");
    await bob.message("Are you there?");
    await badge.waitFor({ state: "hidden" });
    assert.equal(await bob.page.title(), "Sockeye");

    await bob.find("#text").pressSequentially("Ye");
    await ann.find("#typing").getByText(`${b} is typing`).waitFor();
    await bob.find("#text").pressSequentially("s");
    await bob.find("#text").press("Enter");
    await ann.message("Yes");
    assert.equal(await ann.find("#typing").textContent(), "");
    await bob.state("Yes", "delivered");

    await ann.find("#connection").click();
    await ann.find("#p-transport").getByText(shown).waitFor();
    assert.match(await ann.find("#p-socket").textContent(), /^[\w-]{20}$/);
    await ann.find("#p-node").getByText(/\w/).waitFor();
    await ann.find("#p-trip").getByText(/ ms$/).waitFor();
  });
}

scene("a connection becomes a websocket, and another one on demand", async (open) => {
  const ann = await open("Upgrading");
  await ann.find("#connection-text").getByText("WebSocket").waitFor();
  await ann.find("#connection").click();
  const first = await ann.find("#p-socket").textContent();
  await ann.find("#p-transports").getByLabel("Long-polling").check();
  await ann.find("#p-transport").getByText("HTTP long-polling").waitFor();
  await ann.open("Upgrading");
  await ann.write("still myself");
  await ann.state("still myself", "delivered");
  assert.equal(await ann.find("#messages > li").count(), 1, "a note to oneself shows once");
  assert.notEqual(await ann.find("#p-socket").textContent(), first);
});

scene("public rooms", async (open) => {
  const [ann, bob] = await Promise.all([open("Ann rooms"), open("Bob rooms")]);
  await ann.open("#river");
  await ann.write("anybody?");
  await ann.state("anybody?", "absent");
  await bob.find("#list-rooms").locator(bob.row("#river")).getByText("1 person").waitFor();
  await bob.row("#river").click();
  await ann.find("#thread-state").getByText("2 people").waitFor();
  await bob.write("here I am");
  await bob.state("here I am", "delivered");
  await (await ann.message("here I am")).getByText("Bob rooms").waitFor();

  await ann.find("#details").click();
  await ann.find("#p-list").getByText("Bob rooms").waitFor();
  assert.deepEqual(await ann.find("#p-list bdi").allTextContents(), ["Ann rooms", "Bob rooms"]);

  await bob.find("#leave").click();
  await bob.find("#empty").waitFor();
  await ann.find("#thread-state").getByText("1 person").waitFor();
  await ann.write("gone again");
  await ann.state("gone again", "absent");
});

scene("somebody comes, goes, and is told apart", async (open) => {
  const ann = await open("Ann watches");
  await ann.open("Bob comes");
  await ann.write("too early");
  await ann.state("too early", "absent");
  const bob = await open("Bob comes");
  await ann.find("#thread-state").getByText("Online", { exact: true }).waitFor();
  await ann.find("#messages").getByRole("button", { name: "Send again" }).click();
  await ann.state("too early", "delivered");
  await bob.row("Ann watches").first().getByText("too early").waitFor();
  await bob.close();
  await ann.find("#thread-state").getByText("Not online").waitFor();
});

scene("another window of the same user, a reload, a logout", async (open) => {
  const [ann, twin, bob] = await Promise.all([open("Ann twice"), open("Ann twice"), open("Bob once")]);
  await ann.open("Bob once");
  await ann.write("from one window");
  await ann.state("from one window", "delivered");
  await twin.row("Bob once").first().getByText("from one window").waitFor();
  await bob.open("Ann twice");
  await bob.write("to both");
  await ann.message("to both");
  await twin.open("Bob once");
  await twin.message("to both");

  await ann.page.waitForFunction(() => sessionStorage.getItem("sockeye.history.Ann twice")?.includes("to both"));
  await ann.page.reload();
  await ann.state("from one window", "delivered");
  await ann.message("to both");
  await ann.find("#logout").click();
  await ann.find("#welcome").waitFor();
  await ann.page.reload();
  await ann.find("#welcome").waitFor();
  assert.equal(await ann.page.evaluate(() => sessionStorage.length), 0);
});

scene("a front end written for the plain Node program", async (open) => {
  const ann = await open("Ann page");
  const plain = io(node.url, { forceNew: true });
  const stranger = io(node.url, { forceNew: true });
  try {
    const received = new Promise((resolve) => plain.on("receive", resolve));
    plain.emit("login", 4711);
    await ann.row("4711").waitFor();
    plain.emit("send", { to: "Ann page", message: { text: "any JSON", list: [1, null] } });
    await ann.row("4711").first().getByText("any JSON").waitFor();
    await ann.open("4711");
    await ann.message('{"text":"any JSON","list":[1,null]}');
    await ann.write("Hello plain");
    assert.equal(await received, "Hello plain");
    plain.emit("send", { to: "Ann page", message: Buffer.from([1, 2, 3]) });
    await ann.message("[binary data, 3 bytes]");

    stranger.emit("send", { to: "Ann page", message: "psst" });
    await ann.find("#list-open").getByText("Somebody without a name").click();
    await ann.message("psst");
    await ann.find("#composer").waitFor({ state: "hidden" });
  } finally {
    plain.disconnect();
    stranger.disconnect();
  }
});

scene("names that are refused", async (open) => {
  const window = await open();
  for (const [name, words] of [["", "enter a name"], ["#room", "cannot start with #"], ["水".repeat(64) + "水".repeat(30), "too long"], ["AAAAAAAAAAAAAAAAAAAA", "exactly 20 letters"]]) {
    await window.find("#login-name").evaluate((e) => e.removeAttribute("maxlength")); // a browser may be told otherwise
    await window.find("#login-name").fill(name);
    await window.find("#login-name").press("Enter");
    await window.find("#login-error").getByText(words).waitFor();
    assert.ok(await window.find("#login-name").evaluate((e) => e === document.activeElement));
  }
  await window.login("Ann accepted");
  await window.find("#find-text").fill("#");
  await window.find("#find-text").press("Enter");
  await window.find("#find-hint").getByText("Write a name after #.").waitFor();
  await window.find("#find-text").fill("BBBBBBBBBBBBBBBBBBBB");
  assert.equal(await window.find("#find-hint").textContent(), "");
  await window.find("#find-text").press("Enter");
  await window.find("#banner").getByText("exactly 20 letters").waitFor();
  await window.open("#" + "水".repeat(63));

  // By a link; the address does not keep what was refused.
  for (const [name, words] of [["#" + "水".repeat(90), "room is too long"], ["#a\nb", "invisible signs"], ["#", "Write a name"], ["x".repeat(300), "name is too long"]]) {
    await window.page.evaluate((id) => (location.hash = `#/${encodeURIComponent(id)}`), name);
    await window.find("#banner").getByText(words).waitFor();
    await window.find("#empty").waitFor();
    assert.equal(new URL(window.page.url()).hash, "");
  }
});

scene("text is never markup", async (open) => {
  const evil = '<img src=x onerror="document.title=1">';
  const [mallory, ann] = await Promise.all([open(`<b>${evil}`), open("Ann escapes")]);
  await mallory.open("Ann escapes");
  for (const text of [evil, "<script>document.title=1</script>", "&lt;b&gt; **x** [a](javascript:alert(1))"]) {
    await mallory.write(text);
    await mallory.state(text, "delivered");
  }
  await ann.open(`<b>${evil}`);
  await ann.message("<script>document.title=1</script>");
  await ann.message("&lt;b&gt; **x** [a](javascript:alert(1))");
  await ann.open(`#${evil}`);
  await ann.find("#details").click();
  await ann.find("#p-list").getByText("Ann escapes").waitFor();
  for (const window of [ann, mallory]) {
    assert.equal(await window.find("img, b, a:not(.skip, #second)").count(), 0);
    assert.notEqual(await window.page.title(), "1");
  }
});

scene("addresses are links, and nothing else is", async (open) => {
  const [mallory, ann] = await Promise.all([open("Mallory links"), open("Ann links")]);
  await mallory.open("Ann links");
  await ann.open("Mallory links");
  const cases = [
    ["see http://example.org/a?b=c&d#e.", ["http://example.org/a?b=c&d#e"]],
    ["(https://example.org/wiki/Salmon_(fish)), HTTPS://EXAMPLE.ORG!", ["https://example.org/wiki/Salmon_(fish)", "https://example.org/"]],
    ["https://例え.jp/鮭、 “https://example.org/x”", ["https://xn--r8jz45g.jp/%E9%AE%AD%E3%80%81", "https://example.org/x"]],
    ["javascript:alert(1) data:text/html,x ftp://example.org //example.org xhttp://example.org", []],
    ["https://bank.example@example.org/ http://u:p@example.org https:// http://[::1 https://a b", ["https://a/"]],
    ['http://example.org/"onclick="document.title=1" <a href="http://example.net/">x</a>', ["http://example.org/", "http://example.net/"]],
    ["https://example.org/\u202egro.elpmaxe", ["https://example.org/"]],
    ["first\nhttp://example.org/1\nhttp://example.org/2", ["http://example.org/1", "http://example.org/2"]],
  ];
  for (const [text, links] of cases) {
    await mallory.write(text);
    for (const window of [mallory, ann]) {
      const shown = window.find("#messages > li").last().locator(".text");
      await window.page.waitForFunction((text) => [...document.querySelectorAll("#messages .text")].at(-1)?.textContent === text, text);
      assert.deepEqual(await shown.locator("a").evaluateAll((all) => all.map((a) => a.href)), links, text);
    }
  }
  const link = ann.find("#messages a").first();
  assert.deepEqual(await link.evaluate(({ target, rel }) => [target, rel]), ["_blank", "noopener noreferrer"]);
});

scene("a second user by the link", async (open) => {
  const ann = await open("Ann first", { query: "?transport=websocket" });
  const second = async () => {
    const [page] = await Promise.all([ann.context.waitForEvent("page"), ann.find("#second").click()]);
    return page;
  };
  const bob = await second();
  await bob.getByLabel("Your name").fill("Bob second");
  await bob.keyboard.press("Enter");
  await bob.locator("#thread-name").getByText("Ann first").waitFor();
  await bob.keyboard.type("hello from the next tab");
  await bob.keyboard.press("Enter");
  await ann.row("Bob second").first().getByText("hello from the next tab").waitFor();
  assert.equal(new URL(bob.url()).search, "?transport=websocket");
  assert.equal(await bob.evaluate(() => window.opener), null);

  await ann.open("#second room");
  const carol = await second();
  await carol.getByLabel("Your name").fill("Carol second");
  await carol.keyboard.press("Enter");
  await carol.locator("#thread-state").getByText("2 people").waitFor();
});

scene("the line of round trips", async (open) => {
  const ann = await open("Ann measures");
  await ann.find("#connection").click();
  await ann.find("#p-line-words").getByText(/^[2-9] round trips, from [\d.]+ ms to [\d.]+ ms, half of them within [\d.]+ ms$/).waitFor();
  assert.match(await ann.find("#p-line path").getAttribute("d"), /^M[\d.]+ [\d.]+h0(L[\d.]+ [\d.]+)+$/);

  // Where nothing answers the line has a gap.
  await ann.context.setOffline(true);
  await ann.find("#p-state").getByText("Not connected").waitFor();
  await ann.context.setOffline(false);
  await ann.find("#p-state").getByText("Connected", { exact: true }).waitFor();
  await ann.page.waitForFunction(() => document.querySelector("#p-line path").getAttribute("d").split("M").length === 3);
  await ann.find("#p-change").getByText(/^back on \S+ after \d+\.\d s, at /).waitFor();
});

scene("a restart of the server", async (open) => {
  const own = new Node(await freePort());
  await own.start();
  try {
    const [ann, bob] = await Promise.all(["Ann stays", "Bob stays"].map((user) => open(user, { url: own.url })));
    await ann.open("#steady");
    await bob.open("#steady");
    await ann.write("before");
    await bob.message("before");
    await ann.find("#connection").click();
    const first = await ann.find("#p-socket").textContent();

    await own.stop();
    await ann.find("#banner").getByText("Connection lost").waitFor();
    await bob.find("#banner").getByText("Connection lost").waitFor();
    await ann.write("meanwhile");
    await ann.state("meanwhile", "waiting");

    await own.start();
    for (const window of [ann, bob]) {
      await window.find("#banner-retry").click({ timeout: 500 }).catch(() => {}); // unless it has connected by itself already
      await window.find("#banner").waitFor({ state: "hidden" });
    }
    await ann.find("#messages > li").filter({ hasText: "meanwhile" }).locator("css=:scope:not([data-state=waiting]):not([data-state=sending])").waitFor();
    await ann.write("after");
    await ann.state("after", "delivered");
    await bob.message("after");
    await bob.message("before");
    await bob.write("welcome back");
    await ann.message("welcome back");
    await ann.find("#p-socket").getByText(/^[\w-]{20}$/).waitFor();
    assert.notEqual(await ann.find("#p-socket").textContent(), first);
  } finally {
    await own.stop();
  }
});

scene("another path, and a name for the node", async (open) => {
  for (const [path, slash] of [["/chat/live", true], ["/rt", false]]) {
    const own = new Node(await freePort(), ["--path", path, "--node-name", "north", ...(slash ? [] : ["--no-add-trailing-slash"])]);
    await own.start();
    try {
      const [ann, bob] = await Promise.all(["Ann elsewhere", "Bob elsewhere"].map((user) => open(user, { url: own.url })));
      await ann.row("Bob elsewhere").getByText("north").waitFor();
      await ann.open("Bob elsewhere");
      await ann.find("#thread-node").getByText("north").waitFor();
      await ann.write("this way");
      await ann.state("this way", "delivered");
      await bob.row("Ann elsewhere").first().getByText("this way").waitFor();
      await ann.find("#connection-text").getByText("WebSocket · north").waitFor();
    } finally {
      await own.stop();
    }
  }
});

scene("what was written without a connection waits for its addressee too", async (open) => {
  const own = new Node(await freePort());
  await own.start();
  try {
    const [ann, bob] = await Promise.all(["Ann late", "Bob early"].map((user) => open(user, { url: own.url })));
    await bob.open("Ann late");
    await bob.find("#thread-state").getByText("Online", { exact: true }).waitFor();

    await own.stop();
    await bob.find("#thread-state").getByText("Not connected").waitFor();
    assert.ok(!(await bob.find("#thread-state").evaluate((e) => e.classList.contains("online"))));
    await bob.write("while down");
    await bob.state("while down", "waiting");
    await bob.find("#find-text").fill("AAAAAAAAAAAAAAAAAAAA");
    await bob.find("#find-text").press("Enter");
    await bob.find("#banner").getByText("exactly 20 letters").waitFor(); // a name is judged without the server
    await ann.page.route("**/socket.io/**", (route) => route.abort());

    await own.start();
    await bob.state("while down", "absent");
    await ann.page.unroute("**/socket.io/**");
    await bob.state("while down", "delivered");
    await ann.row("Bob early").first().click();
    await ann.message("while down");
    assert.equal(await ann.find("#messages > li").count(), 1, "it arrives once");
  } finally {
    await own.stop();
  }
});

scene("by keyboard alone", async (open) => {
  const [ann, bob] = await Promise.all([open(), open("Bob keys")]);
  const { keyboard } = ann.page;
  const focused = () => ann.page.evaluate(() => document.activeElement.id || document.activeElement.dataset.id);
  await ann.find("#login").waitFor();
  await keyboard.type("Ann keys");
  await keyboard.press("Enter");
  await ann.row("Bob keys").waitFor();
  assert.equal(await focused(), "find-text");
  // The lists follow what is typed with the next frame; a key that comes before it must not land on a row that goes.
  await keyboard.type("bob k");
  await ann.find("#find-text").evaluate((field) => {
    field.value = "bob ke";
    field.dispatchEvent(new InputEvent("input", { bubbles: true }));
    field.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
    return new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  });
  assert.equal(await focused(), "bob ke");
  await keyboard.press("ArrowDown");
  assert.equal(await focused(), "Bob keys");
  await keyboard.press("Enter");
  await ann.find("#thread").waitFor();
  assert.equal(await focused(), "text");
  await keyboard.type("first line");
  await keyboard.press("Shift+Enter");
  await keyboard.type("second line");
  await keyboard.press("Enter");
  await bob.open("Ann keys");
  await bob.message("first line\nsecond line");
  assert.equal(await bob.find("button.item[aria-current]").count(), 1, "one row is the current one");

  const address = ann.page.url();
  await ann.find("#skip").focus();
  await keyboard.press("Enter");
  assert.equal(await focused(), "text");
  assert.equal(ann.page.url(), address, "the conversation stays open");

  await keyboard.press("Shift+Tab");
  assert.equal(await focused(), "scroll");
  await keyboard.press("Shift+Tab");
  assert.equal(await focused(), "details");
  await keyboard.press("Enter");
  await ann.find("#panel").waitFor();
  assert.equal(await focused(), "h-panel");
  await keyboard.press("Escape");
  assert.equal(await focused(), "details");
  await keyboard.press("Escape");
  await ann.find("#empty").waitFor();
  assert.ok(await ann.find("#skip").isHidden(), "there is no message field to skip to");
  assert.equal(await focused(), "find-text");
  await ann.find("#logout").focus();
  await keyboard.press("Control+k");
  assert.equal(await focused(), "find-text");

  // Rows that move or go while one is on them.
  const carol = await open("Carol keys");
  await ann.row("Carol keys").focus();
  await carol.open("Ann keys");
  await carol.write("up it goes");
  await ann.find("#list-open").locator(ann.row("Carol keys")).waitFor();
  assert.equal(await focused(), "Carol keys");
  const people = ann.find("#list-people");
  await people.locator(ann.row("Carol keys")).focus();
  await carol.close();
  await people.locator(ann.row("Carol keys")).waitFor({ state: "detached" });
  assert.ok(await ann.find("#lists").evaluate((e) => e.contains(document.activeElement)), "the focus stays in the list");
});

const people = ["Ada", "李雷", "ليلى", "🦊 Foxy", "Bartholomew-Maximilian von und zu Hohenzollern-Sigmaringen III"];
const lines = [
  [2, "مرحبا بالجميع! كيف الحال اليوم؟"],
  [1, "大家好！今天的天气真不错，我们去河边看鲑鱼洄游吧。"],
  [3, "🎉🐟"],
  [3, "The salmon are back, I counted 40 of them this morning."],
  [4, "Marvellous. I shall bring the telescope, the folding chairs and my grandmother's fish soup."],
  [0, "Good morning! Who is coming to the river at noon?\nI can bring coffee."],
];

/** A room full of people in all kinds of scripts; returns the windows. */
async function gathering(open, room, suffix = "") {
  const windows = await Promise.all(people.map((name, i) => open(name + suffix, i % 2 ? { colorScheme: "dark" } : {})));
  await Promise.all(windows.map((window) => window.open(room)));
  for (const [who, text] of lines) {
    await windows[who].write(text);
    await Promise.all(windows.map((w) => w.message(text)));
  }
  return windows;
}

/** Text whose contrast with its background is below WCAG AA. */
function pale(window) {
  return window.page.evaluate(() => {
    const parse = (color) => color.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
      const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const ground = (e) => {
      for (; e; e = e.parentElement) {
        const color = parse(getComputedStyle(e).backgroundColor);
        if (color[3] !== 0) return color;
      }
      return [255, 255, 255];
    };
    const found = [];
    for (const e of document.querySelectorAll("body *")) {
      const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
      if (!own || !e.checkVisibility() || e.closest(".unseen, svg, noscript")) continue;
      const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
      if ((a + 0.05) / (b + 0.05) < 4.5) found.push(`${e.className || e.tagName}: ${e.textContent} ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
    }
    return found;
  });
}

/** Controls without a name for a screen reader. */
function nameless(window) {
  return window.page.evaluate(() =>
    [...document.querySelectorAll("button, input, textarea")]
      .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() || [...(e.labels ?? [])].some((l) => l.textContent.trim())))
      .map((e) => e.outerHTML),
  );
}

scene("every layout, light and dark, with all kinds of names", async (open) => {
  const unbroken = "Donaudampfschifffahrtsgesellschaft".repeat(6);
  await gathering(open, "#layout", " L");
  for (const [size, light, dark] of [[desktop, "rgb(246, 243, 239)", "rgb(18, 23, 28)"], [{ ...phone, viewport: { width: 320, height: 568 } }], [{ viewport: { width: 800, height: 600 } }]]) {
    for (const [colorScheme, ground] of [["light", light], ["dark", dark]]) {
      if (size.viewport.width === 800 && colorScheme === "dark") continue; // the colours are those of the others
      const window = await open(null, { ...size, colorScheme });
      const check = async (what) => {
        assert.equal(await window.overflow(), 0, `${what} at ${size.viewport.width} px`);
        assert.deepEqual(await pale(window), [], `${what}, ${colorScheme}`);
        assert.deepEqual(await nameless(window), [], what);
      };
      await check("login");
      await window.login(`Viewer ${size.viewport.width} ${colorScheme}`);
      await window.row("ليلى L").first().waitFor();
      const dot = await window.find(".item.online .face").first().evaluate((e) => {
        const { width, height } = getComputedStyle(e, "::after");
        return [width, height];
      });
      for (const side of dot) assert.match(side, /^\d+px$/, "a fraction of a pixel makes the dot an oval");
      await check("list");
      await window.open("#layout");
      await window.write(unbroken);
      await window.state(unbroken, "delivered");
      await window.find("#text").fill("several\nlines\nof a draft\nthat grow the field");
      await check("thread");
      await window.find("#details").click();
      await window.find("#p-list").getByText(people[4]).waitFor();
      await check("panel");
      if (size.viewport.width === 800) {
        await window.page.mouse.click(50, 300); // beside the panel
        await window.find("#panel").waitFor({ state: "hidden" });
      }
      if (ground) assert.equal(await window.find("html").evaluate((e) => getComputedStyle(e).backgroundColor), ground);
      await window.close();
    }
  }
});

if (images) {
  scene("pictures for the README", async (open) => {
    const [grace, hedy] = [await open("Grace", phone), await open("Hedy", { ...phone, colorScheme: "dark" })];
    for (const window of [grace, hedy]) await window.open("#lobby");
    const [ada, lei, , foxy] = await gathering(open, "#lobby");
    const shoot = async (window, name) => {
      await window.page.mouse.move(0, 0);
      await window.page.waitForTimeout(300);
      await window.page.screenshot({ path: `${images}${name}.png` });
    };
    for (const friend of ["Ada", "Hedy"]) {
      await lei.open(friend);
      await lei.write("中午见！");
      await foxy.open(friend);
      await foxy.write("I found an old map of the river.");
      await foxy.write("Have a look!");
    }
    await grace.write("With pleasure 🐟");
    await grace.state("With pleasure 🐟", "delivered");
    await grace.find("#text").blur();
    await shoot(grace, "chat-phone");
    await hedy.find("#back").click();
    await hedy.row("🦊 Foxy").first().getByText("Have a look!").waitFor();
    await shoot(hedy, "chat-phone-dark");

    await ada.row("🦊 Foxy").first().getByText("Have a look!").waitFor();
    await ada.find("#details").click();
    await ada.find("#p-list").getByText("Ada").waitFor();
    await lei.open("#lobby");
    await lei.find("#text").pressSequentially("好");
    await ada.find("#typing.on").waitFor();
    await shoot(ada, "chat-desktop");
    await foxy.open("#lobby");
    await foxy.find("#text").blur();
    await shoot(foxy, "chat-dark");
  });
}

// One scene at a time: only one window of a browser has the keyboard.
describe("the chat page", () => {
  for (const [name, play] of scenes) test(name, { timeout: 120_000 }, play);
});
