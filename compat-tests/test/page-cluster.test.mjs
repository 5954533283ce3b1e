// `make cluster`: three nodes behind nginx, with npm clients and with the page in Chromium, through the death of a node
// and of Redis.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { io } from "socket.io-client";
import { launch, Window } from "./lib/browser.mjs";
import { Cluster, listens } from "./lib/cluster.mjs";

let cluster;
let browser;
const sockets = [];

before(async () => {
  cluster = await Cluster.start({ ADAPTER: process.env.ADAPTER ?? "sharded" });
  browser = await launch();
}, { timeout: 300_000 });
after(async () => {
  for (const socket of sockets) socket.disconnect();
  await browser?.close();
  await cluster?.stop();
});

/** A user at some address, and what it hears. */
async function user(name, url, options) {
  const socket = io(url, { forceNew: true, transports: ["websocket"], ...options });
  sockets.push(socket);
  const self = { name, socket, received: [], people: new Map(), alone: null };
  socket.on("receive", (message, { from }) => self.received.push(`${from}: ${message}`));
  socket.on("presence", ({ online = [], offline = [], alone }) => {
    for (const { user, nodes } of online) self.people.set(user, nodes.join());
    for (const user of offline) self.people.delete(user);
    self.alone = alone;
  });
  self.ask = (...args) => socket.timeout(15_000).emitWithAck(...args);
  self.send = async (to, message) => (await self.ask("send", { to, message })).online;
  self.enter = async () => {
    await self.ask("login", name);
    await new Promise((resolve, reject) => {
      socket.timeout(15_000).emit("watch", (late, { users, alone } = {}) => {
        if (late) return reject(late);
        self.people = new Map(users.map(({ user, nodes }) => [user, nodes.join()]));
        self.alone = alone;
        resolve();
      });
    });
    self.node = (await self.ask("whoami")).node;
  };
  await self.enter();
  return self;
}

/** Waits until a condition holds that an event of the clients brings about. */
async function until(what, condition, patience = 20_000) {
  const start = Date.now();
  while (!condition()) {
    if (Date.now() - start > patience) assert.fail(`${what()} after ${patience} ms`);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, 200);
      for (const { io: manager } of sockets) manager.engine?.once("packet", () => (clearTimeout(timer), setImmediate(resolve)));
    });
  }
}

const leave = (...users) => users.forEach(({ socket }) => socket.disconnect());

test("a port that is taken is refused, and nothing is left behind", { timeout: 60_000 }, async () => {
  const [front] = cluster.ports;
  const second = Cluster.run(cluster.variables);
  const [code] = await second.ended;
  assert.equal(code, 1);
  assert.match(second.log, new RegExp(`port ${front} is taken`));
  assert.ok(await listens(front), "the first one goes on");
});

test("users of three nodes talk and see each other", { timeout: 60_000 }, async () => {
  const users = await Promise.all([...cluster.nodes].map(async ([node, { url }]) => {
    const someone = await user(`user of ${node}`, url);
    assert.equal(someone.node, node);
    return someone;
  }));
  const everybody = users.map(({ name, node }) => `${name}@${node}`).sort().join();
  for (const someone of users) {
    const seen = () => [...someone.people].map(([name, node]) => `${name}@${node}`).sort().join();
    await until(() => `${someone.name} sees ${seen()}`, () => seen() === everybody);
  }
  for (const from of users) for (const to of users) assert.equal(await from.send(to.name, `to ${to.name}`), true);
  for (const to of users) {
    await until(() => `${to.name} has ${to.received}`, () => to.received.length === users.length);
    assert.deepEqual(to.received.toSorted(), users.map((from) => `${from.name}: to ${to.name}`).toSorted());
  }
  assert.equal(await users[0].send("nobody of this name", "x"), false);
  leave(...users);
});

test("nginx keeps a polling client on one node, and spreads clients over all", { timeout: 60_000 }, async () => {
  const nodes = new Set();
  for (let i = 0; nodes.size < 3; i++) {
    assert.ok(i < 60, `sixty clients are all on ${[...nodes]}`);
    const someone = await user(`poller ${i}`, cluster.url, { transports: ["polling"], withCredentials: true });
    nodes.add(someone.node);
    for (let n = 0; n < 5; n++) assert.equal((await someone.ask("whoami")).node, someone.node);
    leave(someone);
  }
});

test("the page: users on different nodes; one node is killed", { timeout: 120_000 }, async () => {
  const windows = [];
  const open = async (name) => {
    const window = await Window.open(browser, cluster.url);
    windows.push(window);
    await window.login(name);
    await window.find("#connection-text").getByText(/WebSocket · node-/).waitFor();
    window.node = async () => (await window.find("#connection-text").textContent()).split(" · ")[1];
    return window;
  };
  try {
    const ann = await open("Ann");
    const home = await ann.node();
    // Each window has cookies of its own, so sooner or later one is on another node.
    let bob = await open("Bob");
    for (let i = 0; (await bob.node()) === home; i++) {
      assert.ok(i < 60, "sixty windows are all on one node");
      await windows.pop().close();
      bob = await open("Bob");
    }
    const lost = await bob.node();
    const straggler = await user("Straggler", cluster.nodes.get(lost).url, { reconnection: false });
    await ann.row("Bob").getByText(lost).waitFor();
    await ann.row("Straggler").getByText(lost).waitFor();
    await ann.open("Bob");
    await ann.write("Hello from another node");
    await ann.state("Hello from another node", "delivered");
    await bob.open("Ann");
    await bob.message("Hello from another node");
    await bob.write("Hello back");
    await ann.message("Hello back");

    // What travels where.
    await ann.find("#connection").click();
    const nodes = ann.find("#p-nodes > li");
    await nodes.nth(2).getByText(/there and back in [\d.]+ ms|yours/).waitFor();
    assert.deepEqual(await nodes.evaluateAll((rows) => rows.map(({ dataset }) => dataset.node)), [...cluster.nodes.keys()].sort());
    await nodes.filter({ hasText: lost }).getByText(/\bBob\b/).waitFor();
    await ann.write("Look at this");
    await bob.message("Look at this");
    await ann.find("#p-messages > li").getByText(new RegExp(`^From ${home} to ${lost}, \\d+ s ago$`)).first().waitFor();
    assert.equal(await ann.find("#p-map .arrow:not(.all)").count(), 1, "one message to one node is one arrow");
    assert.equal(await ann.find("#p-map .node").count(), 3);
    if (process.env.PAGE_SCREENSHOTS) {
      await ann.find("#p-cluster").evaluate((e) => e.scrollIntoView());
      await ann.page.evaluate(() => Promise.all(document.getAnimations().map(({ finished }) => finished.catch(() => {}))));
      await ann.page.screenshot({ path: new URL("../../docs/images/chat-cluster.png", import.meta.url).pathname });
    }
    assert.equal(await ann.overflow(), 0);
    await ann.find("#connection").click();

    process.kill(cluster.nodes.get(lost).pid, "SIGKILL");
    await cluster.says(new RegExp(`${lost} .* ended with status 137`));
    await bob.find("#connection-text").getByText(/WebSocket · node-/).filter({ hasNotText: lost }).waitFor({ timeout: 30_000 });
    const refuge = await bob.node();
    await bob.find("#banner-text").getByText(new RegExp(`^From ${lost} to ${refuge} in \\d+\\.\\d s\\.$`)).waitFor();
    await bob.find("#connection").click();
    await bob.find("#p-change").getByText(`from ${lost} to ${refuge} in `).waitFor();
    await bob.find("#connection").click();
    await ann.find("#list-people").locator(ann.row("Straggler")).waitFor({ state: "detached", timeout: 20_000 });
    await ann.find("#list-people").locator(ann.row("Bob")).getByText(refuge).waitFor({ timeout: 20_000 });
    // Ann has moved too if her websocket came through the node that was killed.
    await bob.find("#list-people").locator(bob.row("Ann")).filter({ hasText: /node-/, hasNotText: lost }).waitFor();
    assert.equal(await bob.find("#list-people").locator(bob.row("Straggler")).count(), 0);
    await bob.write("I am back");
    await bob.state("I am back", "delivered");
    await ann.message("I am back");
    await ann.write("Welcome");
    await bob.message("Welcome");
    cluster.nodes.delete(lost);
    for (const { problems } of windows) assert.deepEqual(problems.filter((text) => !/status of 50[24]/.test(text)), []);
  } finally {
    await Promise.all(windows.map((window) => window.close()));
  }
});

test("Redis stops answering for a while: own users stay, the others come back", { timeout: 90_000 }, async () => {
  const [one, two] = await Promise.all([...cluster.nodes.values()].map(({ url }, i) => user(`trouble ${i}`, url)));
  const twin = await user("twin", [...cluster.nodes.values()][0].url);
  const sees = (watcher, other, where) => until(() => `${watcher.name} sees ${JSON.stringify([...watcher.people])}`, () => watcher.people.get(other.name) === where);
  await sees(one, two, two.node);
  await sees(one, twin, one.node);
  process.kill(cluster.redis, "SIGSTOP");
  try {
    await sees(one, two, undefined);
    assert.equal(one.alone, true);
    assert.equal(one.people.get("twin"), one.node, "who is on the same node is still there");
    const start = Date.now();
    assert.equal(await one.send("twin", "still here"), true);
    assert.ok(Date.now() - start < 5000, "a message on the same node does not wait for Redis");
  } finally {
    process.kill(cluster.redis, "SIGCONT");
  }
  await sees(one, two, two.node);
  await sees(two, one, one.node);
  await until(() => "alone", () => one.alone === false);
  assert.equal(await two.send(one.name, "across"), true);
  await until(() => `received ${one.received}`, () => one.received.includes(`${two.name}: across`));
  assert.ok(one.socket.connected && two.socket.connected);
  leave(one, two, twin);
});

test("Ctrl-C stops all of it", { timeout: 60_000 }, async () => {
  assert.equal(await cluster.stop(), 0);
  for (const port of cluster.ports) assert.equal(await listens(port), false, `something listens on ${port} still`);
});
