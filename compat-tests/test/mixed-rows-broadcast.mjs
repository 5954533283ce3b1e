// Rows of the matrix: who receives what is broadcast, and in which order.
import { gunzipSync } from "node:zlib";
import { PollingSession } from "./lib/engineclient.mjs";
import { random } from "./lib/random.mjs";

/** Four clients in rooms of their own: a1 and b1 in red, a2 and b2 in blue, b2 also in red. */
async function rooms(c) {
  const [a1, a2, b1, b2] = await c.setUp("a1", "a2", "b1", "b2");
  await c.join(a1, "red");
  await c.join(a2, "blue");
  await c.join(b1, "red");
  await c.join(b2, "blue", "red");
  return { a1, a2, b1, b2 };
}

async function emits(c, ...selections) {
  for (const [n, selection] of selections.entries()) await c.do("emit", { event: "news", args: [n, "text"], ...selection });
  await c.flush();
}

export const broadcastRows = [
  {
    name: "emit to everybody",
    async run(c) {
      await rooms(c);
      await emits(c, {}, {});
    },
  },
  {
    name: "to(room)",
    async run(c) {
      await rooms(c);
      await emits(c, { to: ["red"] }, { to: ["blue"] }, { to: ["nobody's"] });
    },
  },
  {
    name: "to(two rooms)",
    async run(c) {
      await rooms(c);
      await emits(c, { to: ["red", "blue"] }, { to: ["blue", "nobody's"] });
    },
  },
  {
    name: "to(id)",
    async run(c) {
      const { a2, b1, b2 } = await rooms(c);
      await emits(c, { to: [b1.id] }, { to: [a2.id] }, { to: [b1.id, b2.id] });
    },
  },
  {
    name: "except",
    async run(c) {
      const { a1, b1 } = await rooms(c);
      await emits(c, { except: ["red"] }, { to: ["red"], except: ["blue"] }, { except: [b1.id] }, { to: ["red"], except: [a1.id, b1.id] });
    },
  },
  {
    name: "socket.broadcast, socket.to(room)",
    async run(c) {
      const { a1, a2 } = await rooms(c);
      await emits(c, { socket: a1.id, broadcast: true }, { socket: a1.id, to: ["red"] }, { socket: a2.id, to: ["red", "blue"] });
    },
  },
  {
    name: "local",
    async run(c) {
      await rooms(c);
      await emits(c, { local: true }, { local: true, to: ["red"] }, {});
    },
  },
  {
    name: "volatile",
    async run(c) {
      await rooms(c);
      // One at a time: a volatile packet is dropped where another one is still under way.
      for (const to of [[], ["red"], ["red", "blue"]]) {
        await c.flush();
        await emits(c, { volatile: true, to });
      }
    },
  },
  {
    name: "compress flag",
    async run(c) {
      // The reference heeds the flag over polling alone.
      await rooms(c);
      const clients = await Promise.all([c.from, c.to].map((node) => PollingClient.open(c, node, "red")));
      const found = [];
      for (const selection of [{}, { compress: true }, { compress: false }, { compress: false, to: ["red"] }, { compress: true, to: ["red", "blue"] }]) {
        await c.do("emit", { event: "long", args: ["abcdefgh".repeat(400)], ...selection });
        found.push(await Promise.all(clients.map(async (client) => (await client.read("long")).encoding)));
      }
      await c.flush();
      return { found };
    },
  },
  {
    name: "strange room names",
    async run(c) {
      const [a1, b1, b2] = await c.setUp("a1", "b1", "b2");
      const names = ["a#b", "#", "r\u00f6\u00f6m \u{1f600}", "with spaces", "*", "[x]?", "a".repeat(20), "17", "\u0000", "constructor", "x".repeat(1000)];
      await c.join(a1, ...names);
      await c.join(b1, ...names);
      await c.join(b2, ...names.filter((_, i) => i % 2));
      await emits(c, ...names.map((name) => ({ to: [name] })), { to: names }, { except: [names[1]] });
    },
  },
  {
    name: "the main namespace",
    namespace: "/",
    async run(c) {
      const { b2 } = await rooms(c);
      await emits(c, {}, { to: ["red"] }, { to: ["red", "blue"] }, { to: [b2.id], except: ["red"] }, { except: ["blue"] });
      return { sockets: (await c.do("fetchSockets", { to: ["red"] })).map((s) => [s.id, s.rooms]) };
    },
  },
  {
    name: "random selections",
    async run(c) {
      const clients = Object.values(await rooms(c));
      const places = ["red", "blue", "nobody's", ...clients.map((client) => client.id)];
      const { below } = random(11);
      const some = (n) => places.filter(() => below(n) === 0);
      for (let n = 0; n < 60; n++) {
        const selection = { to: some(3), except: some(5), ...(below(3) === 0 && { socket: clients[below(2)].id, broadcast: true }) };
        await c.do("emit", { event: "news", args: [n, ...(below(4) === 0 ? [{ $bin: "0a0b" }] : [])], ...selection });
      }
      await c.flush();
    },
  },
  {
    name: "order of 500 messages of one node",
    async run(c) {
      const { b1 } = await rooms(c);
      const series = [{ args: ["text"] }, { to: ["red"], args: [{ $bin: "00ff" }] }, { to: ["red", "blue"], args: [{ x: [{ $bin: "01" }] }] }, { to: [b1.id], args: [] }, { to: ["blue"], args: [1.5] }];
      await c.do("emitSeries", { event: "item", count: 500, series });
      await c.flush();
    },
  },
];

/** A client that polls by hand, to see how the answers are encoded. */
class PollingClient {
  static async open(c, node, room) {
    const client = new PollingClient();
    client.session = await PollingSession.open(node.server.addr, c.names, `polling ${node === c.from}`, { path: "/socket.io/" });
    await client.session.post(`40${c.nsp},`);
    const { packets } = await client.read("40");
    c.names.add(/"sid":"([^"]+)"/.exec(packets)[1], `polling socket ${node === c.from}`);
    await client.session.post(`42${c.nsp},0["join","${room}"]`);
    await client.read("43");
    return client;
  }
  /** Polls until an answer has the text. */
  async read(text) {
    for (;;) {
      const { status, headers, body } = await this.session.poll({ headers: { "Accept-Encoding": "gzip" } });
      if (status !== 200) throw new Error(`status ${status}`);
      const encoding = headers["content-encoding"] ?? "none";
      const packets = (encoding === "gzip" ? gunzipSync(body) : body).toString();
      if (packets.includes(text)) return { packets, encoding };
    }
  }
}
