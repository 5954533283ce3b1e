// Runs the client of docs/delivery.md, as it stands there, against examples/delivery, over connections that are cut at bad moments.
import { test } from "node:test";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync, rmSync, mkdtempSync } from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "../..");

// The page's JavaScript as a module, beside the client that it imports.
async function pageClient() {
  const page = readFileSync(path.join(root, "docs/delivery.md"), "utf8");
  const code = page.match(/```js\n([\s\S]*?)```/)[1];
  const file = path.join(import.meta.dirname, `.delivery-page-${process.pid}.mjs`);
  writeFileSync(file, code);
  try {
    return await import(file);
  } finally {
    rmSync(file);
  }
}

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function until(what, ok) {
  for (const end = Date.now() + 60_000; !ok(); ) {
    assert.ok(Date.now() < end, `timed out: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function startBoard(t) {
  const folder = mkdtempSync(path.join(os.tmpdir(), "delivery-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const program = path.join(folder, "delivery");
  const build = spawn("go", ["build", "-o", program, "./examples/delivery"], { cwd: root, stdio: "inherit" });
  assert.equal((await once(build, "exit"))[0], 0);
  const port = await freePort();
  const board = spawn(program, ["-addr", `127.0.0.1:${port}`], { stdio: "inherit" });
  t.after(() => board.kill());
  let up = false;
  const knock = () => net.connect(port, "127.0.0.1", function () { up = true; this.destroy(); }).on("error", () => up || setTimeout(knock, 50));
  knock();
  await until("the board listens", () => up);
  return port;
}

// A proxy that cuts a connection when the server has sent so many chunks on it; the last of them does not reach the client. It stops cutting
// after so many times.
async function startProxy(t, port, chunks, times) {
  const proxy = net.createServer((client) => {
    const server = net.connect(port, "127.0.0.1");
    let left = chunks;
    const end = () => { client.destroy(); server.destroy(); };
    client.on("error", end).on("close", end).on("data", (data) => server.write(data));
    server.on("error", end).on("close", end).on("data", (data) => {
      if (proxy.cuts < times && --left <= 0) {
        proxy.cuts++;
        end();
      } else {
        client.write(data);
      }
    });
  });
  proxy.cuts = 0;
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  t.after(() => proxy.close());
  return proxy;
}

test("delivery: every message once and in order, at everybody, although connections are cut", async (t) => {
  const { open } = await pageClient();
  const port = await startBoard(t);
  const options = { reconnectionDelay: 20, reconnectionDelayMax: 50, ackTimeout: 500, transports: ["websocket"] };
  const shown = [];
  const boards = [];
  for (let i = 0; i < 3; i++) {
    const proxy = await startProxy(t, port, 6 + i, 8);
    shown.push([]);
    const board = open(`http://127.0.0.1:${proxy.address().port}`, (m) => shown[i].push(m.text), options);
    t.after(() => board.socket.disconnect());
    boards.push({ ...board, proxy });
  }
  const posted = [];
  await Promise.all(boards.map(async (board, i) => {
    for (let n = 0; n < 25; n++) {
      posted.push(`${i}-${n}`);
      await board.post(`${i}-${n}`);
    }
  }));
  await until("everything is shown", () => shown.every((list) => list.length >= posted.length));
  for (const list of shown) {
    assert.deepEqual(list, shown[0], "all see one order");
    assert.deepEqual([...list].sort(), [...posted].sort(), "each once");
  }
  for (const { proxy } of boards) assert.ok(proxy.cuts >= 3, "connections were cut");
});

test("delivery: a client that comes for the first time, and one whose session is over, get what they lack", async (t) => {
  const { open } = await pageClient();
  const port = await startBoard(t);
  const options = { transports: ["websocket"], reconnectionDelay: 20 };
  const first = open(`http://127.0.0.1:${port}`, () => {}, options);
  t.after(() => first.socket.disconnect());
  await first.post("one");
  const texts = [];
  const second = open(`http://127.0.0.1:${port}`, (m) => texts.push(m.text), options);
  t.after(() => second.socket.disconnect());
  await until("the first message", () => texts.length === 1);
  second.socket.disconnect(); // which gives the session up
  await first.post("two");
  second.socket.connect();
  await first.post("three");
  await until("the rest", () => texts.length === 3);
  assert.equal(second.socket.recovered, false);
  assert.deepEqual(texts, ["one", "two", "three"]);
});
