// What no application should send: a Node node must survive what clients make a Go node publish, and go on receiving.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Cluster, flavours, full, startNodes } from "./lib/mixed.mjs";
import { startRedis } from "./lib/redis.mjs";
import { selfCheck } from "./lib/servers.mjs";

let redis;
before(async () => {
  redis = await startRedis();
});
after(() => redis?.stop());

const nest = (depth, open, close, leaf = "1") => open.repeat(depth) + leaf + close.repeat(depth);

/** Values as the text that stands in the packet. */
const texts = [
  ...["\\ud800", "\\udc00x", "a\\ud83d", "\\ud83d\\ud83d\\ude00", "\\u0000", "", "\\u2028\\uffff\\ufffe"].map((text) => `"${text}"`),
  '{"\\ud800":"\\udfff","":""}',
  '{"__proto__":{"polluted":true}}',
  '{"__proto__":null,"a":{"__proto__":[1]}}',
  '{"constructor":{"prototype":{"polluted":true}},"toString":1,"toJSON":2,"hasOwnProperty":3,"length":-1}',
  '{"a":1,"a":2}',
  '{"_placeholder":true,"num":0}',
  '{"type":"Buffer","data":[1,2]}',
  '{"uid":"x","requestId":"y","type":8,"clientCount":-5}',
  ...["123456789012345678901234567890", "-123456789012345678901234567890", "18446744073709551615", "18446744073709551616", "9223372036854775807", "-9223372036854775808", "-9223372036854775809", "9007199254740993"],
  ...["-0", "-0.0", "1e400", "-1e400", "1e-400", "1E5", "5e-324", "0.1e1", "1.0"],
  nest(60, "[", "]"),
  nest(60, '{"":', "}"),
  nest(30, '[{"k":', "}]"),
  `[${"[],".repeat(70_000)}0]`,
  `{${Array.from({ length: 70_000 }, (_, i) => `"${i}":0`).join()}}`,
  `"${"\\u0000".repeat(100_000)}"`,
  " [ 1 ,\n\t{ } ] ",
];

const long = (text) => (text.length > 60 ? `${text.slice(0, 60)}... (${text.length} characters)` : text);

// @msgpack/msgpack encodes a key __proto__ but decodes none, so that a Node node does not take this from another one.
const refused = (flavour, text) => selfCheck && flavour.adapter === "streams" && text.includes("__proto__");

async function survives(c, what, b1) {
  try {
    await c.flush();
    assert.ok(b1.socket.connected, "the client of the Node node was disconnected");
  } catch (err) {
    err.message = `after ${what}: ${err.message}; the Node node: ${c.to.server.child.exitCode ?? "runs"}\n${c.to.server.output.slice(-10).join("\n")}`;
    throw err;
  }
}

for (const flavour of full ? flavours : flavours.filter((f) => ["pubsub", "sharded dynamic", "streams"].includes(f.name))) {
  test(`a Node node survives, ${flavour.name}`, { timeout: 120_000 }, async () => {
    const nodes = await startNodes(redis, flavour, { go: "sockeye", node: "reference" });
    const c = new Cluster({ from: nodes.go, to: nodes.node, nsp: "/nasty" });
    try {
      const [a1, b1, b2] = await c.setUp("a1", "b1", "b2");
      await c.join(b1, "room");
      await c.join(b2, "twenty");
      const received = () => b1.events.filter(([event]) => event === "nasty" || event === "relayed").length;
      let sent = 0;
      for (const text of texts) {
        const args = [{ $json: text }];
        await c.do("emit", { event: "nasty", args });
        await c.do("emit", { event: "nasty", args: text.includes("_placeholder") ? args : [...args, { $bin: "00ff" }], to: ["room"] });
        await c.do("emit", { event: "nasty", args: [args], to: ["room", "nobody's"] });
        a1.socket.io.engine.write(`2/nasty,["relay",${text}]`);
        await c.from.settle();
        await survives(c, long(text), b1);
        sent += refused(flavour, text) ? 3 : 4;
        assert.equal(received(), sent, `of ${long(text)} something did not arrive`);
        await c.do("serverSideEmit", { event: "unheard", args });
        await c.do("broadcastAck", { event: "unanswered", args, to: ["room"], timeout: 1 });
        await c.from.command("setData", { socket: a1.id, key: "nasty", value: JSON.parse(text) });
        if (!refused(flavour, text)) assert.equal((await c.to.command("fetchSockets")).length, 3);
        await survives(c, `questions about ${long(text)}`, b1);
      }
      await tooManyAttachments(c, b1);
      assert.equal(await c.to.command("polluted"), false, "a prototype was changed");
    } finally {
      c.end();
      await nodes.stop();
    }
  });
}

// The npm client refuses more than ten attachments; the node must not mind.
async function tooManyAttachments(c, b1) {
  const b2 = c.clients.find((client) => client.name === "b2");
  await c.do("emit", { event: "nasty", args: Array.from({ length: 20 }, (_, i) => ({ $bin: Buffer.from([i]).toString("hex") })), to: ["twenty"] });
  await b2.disconnected();
  await survives(c, "20 attachments", b1);
}
