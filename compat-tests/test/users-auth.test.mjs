// Authentication with the npm client as it is: refusals, renewal, expiry, and revocation on two nodes over a real Redis.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { io } from "socket.io-client";
import { freePort, Node } from "./lib/browser.mjs";
import { startRedis } from "./lib/redis.mjs";

const secret = "a secret of these tests, longer than 32 bytes";
const dir = mkdtempSync(path.join(tmpdir(), "auth-"));
const key = path.join(dir, "key");
const binary = process.env.SOCKEYE_BIN ?? path.join(fileURLToPath(new URL("../..", import.meta.url)), "bin", "sockeye");

const encode = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
const now = () => Math.floor(Date.now() / 1000);

/** A token that expires in some seconds. */
function token(sub, seconds, { alg = "HS256", sign = true, ...claims } = {}) {
  const text = `${encode({ alg, typ: "JWT" })}.${encode({ sub, iat: now(), exp: now() + seconds, ...claims })}`;
  return `${text}.${sign ? createHmac("sha256", secret).update(text).digest("base64url") : ""}`;
}

const clients = [];

/** A client of the npm package; options.auth may be a function, as in an application. */
function connect(node, options) {
  const socket = io(node.url, { reconnectionDelay: 50, reconnectionDelayMax: 100, forceNew: true, ...options });
  clients.push(socket);
  return socket;
}

const refused = async (socket) => (await once(socket, "connect_error"))[0];

describe("authentication", () => {
  let redis;
  let nodes;

  before(async () => {
    writeFileSync(key, `${secret}\n`);
    redis = await startRedis();
    nodes = await Promise.all(["n1", "n2"].map(async (name) => {
      const node = new Node(await freePort(), ["--node-name", name, "--auth", "jwt", "--jwt-key", key, "--redis", redis.url, "--broker-required"]);
      await node.start();
      return node;
    }));
  }, { timeout: 120_000 });

  after(async () => {
    for (const socket of clients) socket.disconnect();
    await Promise.all((nodes ?? []).map((node) => node.stop()));
    await redis?.stop();
    rmSync(dir, { recursive: true });
  });

  for (const transport of ["polling", "websocket"]) {
    test(`what connect_error tells, over ${transport}`, { timeout: 60_000 }, async () => {
      for (const [auth, code] of [
        [{}, "missing"],
        [{ token: "x" }, "invalid"],
        [{ token: token("ann", 60, { alg: "none", sign: false }) }, "invalid"],
        [{ token: token("ann", -60) }, "expired"],
        [{ token: "x".repeat(9000) }, "too_large"],
      ]) {
        const socket = connect(nodes[0], { auth, transports: [transport] });
        const ends = [];
        socket.io.on("close", (reason) => ends.push(reason));
        const error = await refused(socket);
        assert.equal(error.data.code, code);
        assert.deepEqual(ends, ["forced close"], "the client itself closes the connection, for which it has no use");
        assert.equal(socket.active, false, "the client does not try again by itself");
        if (code === "expired") assert.ok(Math.abs(error.data.expiredAt - (Date.now() - 60_000)) < 10_000);
        socket.auth = { token: token("ann", 60) };
        socket.connect();
        await once(socket, "connect");
        socket.disconnect();
      }
    });
  }

  test("a renewal keeps the socket", { timeout: 60_000 }, async () => {
    const socket = connect(nodes[0], { auth: { token: token("ann", 4) } });
    await once(socket, "connect");
    const { id } = socket;
    const [{ expiresAt, graceMillis }] = await once(socket, "auth:expiring");
    assert.ok(expiresAt > Date.now() && graceMillis === 30_000);
    assert.equal((await socket.emitWithAck("auth:renew", token("bob", 3600))).error.data.code, "subject");
    assert.equal((await socket.emitWithAck("auth:renew", "x")).error.data.code, "invalid");
    const fresh = token("ann", 3600);
    const answer = await socket.emitWithAck("auth:renew", fresh);
    assert.equal(answer.expiresAt, JSON.parse(Buffer.from(fresh.split(".")[1], "base64url")).exp * 1000);
    assert.equal(socket.id, id);
  });

  test("after an expiry a client that gets a new token for each attempt is back by itself", { timeout: 120_000 }, async () => {
    let tokens = 0;
    const auth = (give) => give({ token: token("ann", tokens++ ? 3600 : 1) });
    const socket = connect(nodes[0], { auth });
    await once(socket, "connect");
    const expired = once(socket, "auth:expired");
    const lost = once(socket, "disconnect");
    assert.deepEqual(await expired, [{ code: "expired" }]);
    assert.equal((await lost)[0], "transport close");
    await once(socket, "connect");
    assert.equal(tokens, 2);
    assert.equal((await socket.emitWithAck("whoami")).user, "ann");
  });

  test("after an expiry a client with an old token is told so once", { timeout: 120_000 }, async () => {
    const socket = connect(nodes[0], { auth: { token: token("ann", 1) } });
    await once(socket, "connect");
    const error = await refused(socket);
    assert.equal(error.data.code, "expired");
    assert.equal(socket.active, false);
  });

  test("login takes no other name, and comes first", { timeout: 60_000 }, async () => {
    const socket = connect(nodes[0], { auth: { token: token("ann", 60) } });
    await once(socket, "connect");
    for (const [event, arg] of [["send", { to: "bob", message: "x" }], ["join", "#lobby"]]) {
      assert.deepEqual(await socket.emitWithAck(event, arg), { error: { message: "log in first" } });
    }
    assert.ok((await socket.emitWithAck("login", "bob")).error);
    assert.deepEqual(await socket.emitWithAck("login", "ann"), { user: "ann" });
    assert.deepEqual(await socket.emitWithAck("join", "#lobby"), { room: "#lobby" });
  });

  test("a revocation holds on both nodes at once, and after a restart", { timeout: 120_000 }, async () => {
    const stolen = token("eve", 3600);
    const sockets = nodes.map((node) => connect(node, { auth: { token: stolen } }));
    await Promise.all(sockets.map((s) => once(s, "connect")));
    const bystander = connect(nodes[1], { auth: { token: token("bob", 3600) } });
    await once(bystander, "connect");
    const told = sockets.map((s) => once(s, "auth:revoked"));
    const gone = sockets.map((s) => once(s, "disconnect"));
    await promisify(execFile)(binary, ["revoke", "eve", "--redis", redis.url]);
    const start = performance.now();
    for (const arg of await Promise.all(told)) assert.deepEqual(arg, [{ code: "revoked" }]);
    for (const [reason] of await Promise.all(gone)) assert.equal(reason, "io server disconnect");
    assert.ok(performance.now() - start < 10_000, "tenfold of a second");
    assert.ok(bystander.connected);

    await nodes[0].stop();
    await nodes[0].start();
    for (const node of nodes) {
      const error = await refused(connect(node, { auth: { token: stolen } }));
      assert.equal(error.data.code, "revoked");
    }
    const fresh = connect(nodes[0], { auth: { token: token("eve", 3600, { iat: now() + 5 }) } }); // issued behind the revocation
    await once(fresh, "connect");
  });
});
