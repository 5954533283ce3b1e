// The page of @socket.io/admin-ui, unchanged, in Chromium: against a Sockeye node, and against a cluster of Sockeye and Node.js
// nodes from either side.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";
import { desktop, launch } from "./lib/browser.mjs";
import { until } from "./lib/mixed.mjs";
import { startRedis } from "./lib/redis.mjs";
import { selfCheck, start } from "./lib/servers.mjs";

const hash = "$2a$04$O7k5PY0lr5KJ7yV2EUVQwefCOffDqRsd9SpDW02aQSycA225JdKhO"; // of "secret"
const files = fileURLToPath(new URL("../node_modules/@socket.io/admin-ui/ui/dist/", import.meta.url));
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png" };
const options = { timeout: 120_000 };

let web, browser, redis;
const ends = [];

before(async () => {
  web = http.createServer(async (req, res) => {
    const { pathname } = new URL(req.url, "http://page");
    try {
      const body = await readFile(path.join(files, path.normalize(pathname === "/" ? "/index.html" : pathname)));
      res.writeHead(200, { "content-type": types[path.extname(pathname)] ?? "text/html" }).end(body);
    } catch {
      res.writeHead(404).end();
    }
  });
  await new Promise((resolve) => web.listen(0, "127.0.0.1", resolve));
  web.url = `http://127.0.0.1:${web.address().port}`;
  [browser, redis] = await Promise.all([launch(), startRedis()]);
}, options);
after(async () => {
  for (const end of ends.reverse()) await end();
  await browser?.close();
  await redis?.stop();
  web?.closeAllConnections();
  web?.close();
});

/** Starts a node that lets the page in. */
async function node(side, name, ...more) {
  const server = await start(side, "serve", [
    "--app", "chat", "--node-name", name, "--admin-ui-user", "ann", "--admin-ui-password-hash", hash,
    "--cors-origin", web.url, "--cors-credentials", ...more,
  ]);
  ends.push(() => server.stop());
  return server;
}

/** A client of a node. */
async function client(server, user, transports = ["websocket"]) {
  const socket = io(server.url, { forceNew: true, transports });
  ends.push(() => socket.disconnect());
  await new Promise((resolve, reject) => socket.on("connect", resolve).on("connect_error", reject));
  if (user) await socket.timeout(10_000).emitWithAck("login", user);
  return socket;
}

/** The page in a window of its own. */
class AdminPage {
  errors = [];
  static async open() {
    const self = new AdminPage();
    const context = await browser.newContext({ ...desktop, locale: "en-GB" });
    ends.push(() => context.close());
    // Fonts and icons come from elsewhere; the page works without.
    await context.route((url) => url.hostname !== "127.0.0.1", (route) => route.abort());
    self.page = await context.newPage();
    self.page.setDefaultTimeout(30_000);
    self.page.on("pageerror", (error) => self.errors.push(String(error)));
    await self.page.goto(web.url);
    return self;
  }
  async login(server, password) {
    const { page } = this;
    await page.getByLabel("Server URL").fill(server.url);
    await page.getByLabel("Username").fill("ann");
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Connect" }).click();
  }
  async enter(server) {
    await this.login(server, "secret");
    await this.form("hidden");
  }
  /** Waits until the form is shown, or hidden. */
  form(state = "visible") {
    return this.page.getByLabel("Password").waitFor({ state });
  }
  async go(where) {
    await this.page.evaluate((hash) => (location.hash = hash), `#/${where}`);
  }
  /** Waits until a row of a table has all these texts. */
  async row(...texts) {
    let rows = this.page.locator("tr");
    for (const text of texts) rows = rows.filter({ hasText: text });
    await rows.first().waitFor();
    return rows.first();
  }
  async noRow(text) {
    await this.page.locator("tr").filter({ hasText: text }).first().waitFor({ state: "detached" });
  }
  /** What the page knows. */
  state() {
    return this.page.evaluate(() => {
      const { servers, main, config } = document.querySelector("#app").__vue__.$store.state;
      return JSON.parse(JSON.stringify({
        servers: servers.servers, features: config.supportedFeatures, events: main.aggregatedEvents,
        clients: main.clients.map(({ id, sockets }) => ({ id, sockets: sockets.length })),
        namespaces: main.namespaces.map(({ name, sockets, rooms, events }) => ({
          name, events, sockets: sockets.map(({ id, clientId, transport, data, rooms, handshake }) => ({ id, clientId, transport, data, rooms, handshake })),
          rooms: Object.fromEntries(rooms.map(({ name, sockets }) => [name, sockets.map(({ id }) => id)])),
        })),
      }));
    });
  }
  /** Waits until what the page knows fits. */
  knows(what, check) {
    return until(what, async () => check(await this.state()));
  }
  async picture(name) {
    if (process.env.PICTURES) await this.page.screenshot({ path: path.join(process.env.PICTURES, `${name}.png`) });
  }
}

const main = ({ namespaces }) => namespaces.find(({ name }) => name === "/") ?? { sockets: [], rooms: {}, events: [] };

test("a node in production: logins, numbers, no sockets", { ...options, skip: selfCheck && "the reference forgets its sessions" }, async () => {
  const server = await node("sockeye", "go-1");
  const sockets = [await client(server), await client(server, null, ["polling"])];
  const admin = await AdminPage.open();
  await admin.login(server, "wrong");
  await admin.page.getByText("Invalid credentials").waitFor();
  await admin.form();
  await admin.picture("wrong-password");
  await admin.enter(server);
  await admin.knows("three clients, one of them on polling", ({ servers: [s] }) => s?.clientsCount === 3 && s.pollingClientsCount === 1);
  const { servers, features, namespaces } = await admin.state();
  assert.equal(servers.length, 1);
  assert.equal(servers[0].serverId, "go-1");
  assert.equal(servers[0].pid, selfCheck ? servers[0].pid : server.child.pid);
  assert.deepEqual(servers[0].namespaces.filter(({ socketsCount }) => socketsCount).map(({ name, socketsCount }) => [name, socketsCount]).sort(), [["/", 2], ["/admin", 1]]);
  assert.ok(features.includes("MDISCONNECT") && features.includes("AGGREGATED_EVENTS") && !features.includes("ALL_EVENTS"));
  assert.deepEqual(namespaces, []);
  sockets[0].disconnect();
  const counted = (events, type, subType) => events.filter((e) => e.type === type && e.subType === subType).reduce((sum, { count }) => sum + count, 0);
  await admin.knows("what happened", ({ events }) => counted(events, "rawConnection") >= 1 && counted(events, "rawDisconnection", "transport close") >= 1 && counted(events, "bytesIn") > 0);
  await admin.knows("two clients", ({ servers: [s] }) => s.clientsCount === 2);
  await admin.picture("production");
  await admin.go("servers/");
  await admin.row("go-1", String(server.child.pid));
  await admin.picture("servers");
  // The session opens the page again; one that has ended asks for the password.
  await admin.page.reload();
  await admin.knows("it again", ({ servers: [s] }) => s?.serverId === "go-1");
  assert.equal(await admin.page.getByLabel("Password").isVisible(), false);
  await admin.page.evaluate(() => localStorage.setItem("session_id", "0123456789abcdef0123456789abcdef"));
  await admin.page.reload();
  await admin.page.getByText("Invalid credentials").waitFor();
  await admin.form();
  assert.deepEqual(admin.errors, []);
});

test("a node whose page may only watch", options, async () => {
  const server = await node("sockeye", "go-1", "--admin-ui-mode", "development", "--admin-ui-readonly");
  const socket = await client(server);
  const admin = await AdminPage.open();
  await admin.enter(server);
  await admin.knows("the socket", (state) => main(state).sockets.some(({ id }) => id === socket.id));
  await admin.go("sockets/");
  const row = await admin.row(socket.id);
  assert.equal(await row.getByRole("button").count(), 0, "no button to disconnect");
  assert.deepEqual(admin.errors, []);
});

for (const adapter of ["pubsub", "sharded"]) {
  for (const side of ["sockeye", "reference"]) {
    test(`a cluster, ${adapter}, from a page on ${side}`, options, async () => {
      const key = `${adapter}-${side}`;
      const flags = ["--redis", redis.url, "--adapter", adapter, "--key", key, "--admin-ui-mode", "development"];
      const nodes = { sockeye: await node("sockeye", "go", ...flags), reference: await node("reference", "node", ...flags) };
      const early = { sockeye: await client(nodes.sockeye, "early Ann"), reference: await client(nodes.reference, "early Bob") };
      const admin = await AdminPage.open();
      await admin.enter(nodes[side]);
      const late = { sockeye: await client(nodes.sockeye, "late Ann", ["polling"]), reference: await client(nodes.reference, "late Bob", ["polling"]) };
      const all = [...Object.values(early), ...Object.values(late)];
      await admin.knows("both servers and all clients", (state) => state.servers.length === 2 && all.every(({ id }) => main(state).sockets.some((s) => s.id === id)));
      const state = await admin.state();
      assert.deepEqual(state.servers.map(({ serverId }) => serverId).sort(), ["go", "node"]);
      for (const socket of all) {
        const shown = main(state).sockets.find(({ id }) => id === socket.id);
        assert.equal(shown.clientId, socket.io.engine.id.slice(0, 12));
        assert.equal(shown.transport, socket.io.engine.transport.name);
        assert.equal(shown.handshake.auth, undefined);
        assert.equal(shown.data._admin, undefined);
      }
      assert.equal(new Set(state.clients.map(({ id }) => id)).size, state.clients.length);
      assert.ok(all.every((socket) => state.clients.some(({ id }) => id === socket.io.engine.id.slice(0, 12))));
      const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
      await admin.knows("the true numbers", ({ servers }) => sum(servers.map((s) => s.clientsCount)) === 5 && sum(servers.map((s) => s.pollingClientsCount)) === 2 &&
        sum(servers.flatMap((s) => s.namespaces).filter(({ name }) => name === "/").map((n) => n.socketsCount)) === 4);
      await admin.picture(`${key}-dashboard`);

      // A socket of the Node.js node and one of the Sockeye node join a room and leave it.
      for (const where of ["sockeye", "reference"]) {
        const { id } = early[where];
        const room = `room of ${where}`;
        await admin.go(`n/${encodeURIComponent("/")}/sockets/${id}`);
        await admin.page.getByLabel("Join a room").fill(room);
        await admin.page.getByLabel("Join a room").press("Enter");
        await admin.page.locator(".v-main form button[type=submit]").click();
        await admin.knows(`${id} in ${room}`, (s) => main(s).rooms[room]?.includes(id) && main(s).sockets.find((x) => x.id === id).rooms.includes(room));
        const row = await admin.row(room);
        if (where === "sockeye") await admin.picture(`${key}-socket`);
        await row.getByRole("button").click();
        await admin.knows(`${id} not in ${room}`, (s) => !main(s).rooms[room]?.includes(id));
      }

      // Events of both are told.
      await late.sockeye.timeout(10_000).emitWithAck("send", { to: "early Ann", message: "hello" });
      await late.reference.timeout(10_000).emitWithAck("send", { to: "early Bob", message: "hello" });
      const told = (s, type, name, { id }) => main(s).events.some((e) => e.type === type && e.eventName === name && e.id === id);
      await admin.knows("the events", (s) => ["sockeye", "reference"].every((w) => told(s, "event_received", "send", late[w]) && told(s, "event_sent", "receive", early[w])));
      await admin.go("events/");
      await admin.picture(`${key}-events`);

      // Buttons of the list disconnect sockets, wherever they are; the page forgets them.
      await admin.go("sockets/");
      await admin.row(early.sockeye.id);
      await admin.picture(`${key}-sockets`);
      for (const socket of Object.values(early)) {
        const { id } = socket;
        const gone = new Promise((resolve) => socket.once("disconnect", resolve));
        await (await admin.row(id)).getByRole("button").click();
        assert.equal(await gone, "io server disconnect");
        await admin.knows(`${id} has gone`, (s) => main(s).sockets.every((shown) => shown.id !== id));
        await admin.go("sockets/"); // the click on the row has led to the socket
        await admin.noRow(id);
      }
      for (const socket of Object.values(late)) socket.disconnect();
      await admin.knows("nobody", (s) => main(s).sockets.length === 0 && Object.values(main(s).rooms).every((ids) => ids.length === 0));
      assert.deepEqual(admin.errors, []);

      // The page has no button to emit; its protocol has.
      const [x, y] = [await client(nodes.sockeye), await client(nodes.reference)];
      const operator = io(`${nodes[side].url}/admin`, { forceNew: true, transports: ["websocket"], auth: { username: "ann", password: "secret" } });
      ends.push(() => operator.disconnect());
      await new Promise((resolve) => operator.on("config", resolve));
      const heard = Promise.all([x, y].map((socket) => new Promise((resolve) => socket.on("note", (...args) => resolve(args)))));
      await until("both hear", async () => {
        operator.emit("emit", "/", null, "note", 1, Buffer.from([1, 2]));
        return Promise.race([heard, new Promise((resolve) => setTimeout(resolve, 500))]);
      });
      for (const [n, bytes] of await heard) assert.deepEqual([n, [...bytes]], [1, [1, 2]]);
    });
  }
}
