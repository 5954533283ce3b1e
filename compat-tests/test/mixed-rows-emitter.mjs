// Rows of the matrix: an emitter, which is no node, reaches the sockets of a node.

async function rooms(c) {
  const [b1, b2] = await c.setUp("b1", "b2");
  await c.join(b1, "red");
  await c.join(b2, "blue");
  return { b1, b2 };
}

const payloads = [
  ["text", 1, 2 ** 53 - 1, 0.1, null, true],
  [{ $bin: "010203" }, "after"],
  [{ file: { $bin: "ff" }, list: [[{ $bin: "" }]], "\u00e9": "\u{1f600}" }],
  [{ $date: 1_700_000_000_123 }, { at: { $date: 0 } }, { $undefined: true }],
  [],
];

export const emitterRows = [
  {
    name: "emitter: emit, to, except, flags",
    async run(c) {
      const { b1, b2 } = await rooms(c);
      const selections = [{}, { to: ["red"] }, { to: ["red", "blue"] }, { to: [b2.id] }, { except: ["red"] }, { to: ["red", "blue"], except: [b1.id] }, { compress: false }];
      for (const [n, selection] of selections.entries()) await c.do("emit", { event: "news", args: [n], ...selection });
      await c.flush();
      await c.do("emit", { event: "news", args: ["volatile"], volatile: true, to: ["red"] });
      await c.flush();
    },
  },
  {
    name: "emitter: payloads",
    async run(c) {
      await rooms(c);
      for (const args of payloads) {
        await c.do("emit", { event: "payload", args });
        await c.do("emit", { event: "payload", args, to: ["blue"] });
      }
      await c.flush();
    },
  },
  {
    name: "emitter: socketsJoin, socketsLeave, disconnectSockets",
    async run(c) {
      const { b1, b2 } = await rooms(c);
      await c.do("socketsJoin", { rooms: ["all", "more"] });
      await c.inRoom("more", b1, b2);
      await c.do("socketsLeave", { to: ["red"], rooms: ["all"] });
      await c.do("socketsLeave", { except: ["red"], rooms: ["more"] });
      await c.notInRoom("all", b1);
      await c.notInRoom("more", b2);
      const rooms1 = [await c.rooms(b1), await c.rooms(b2)];
      await c.do("disconnectSockets", { to: ["red"], close: true });
      await b1.disconnected();
      await c.to.waitDisconnect(b1);
      await c.do("disconnectSockets", { except: [b1.id] });
      await b2.disconnected();
      await c.to.waitDisconnect(b2);
      return { rooms: rooms1 };
    },
  },
  {
    name: "emitter: serverSideEmit",
    async run(c) {
      await rooms(c);
      await c.to.command("watchServerSide", { event: "notice", reply: "ignored" });
      for (const args of [["text", { a: [1.5, null] }], [{ $bin: "0102" }], ["last"]]) await c.do("serverSideEmit", { event: "notice", args });
      await c.to.waitLog((e) => e.event === "server side" && e.args[0] === "last");
    },
  },
  {
    name: "emitter: order of 500 messages",
    async run(c) {
      const { b1 } = await rooms(c);
      const series = [{ args: ["text"] }, { to: ["red"], args: [{ $bin: "00ff" }] }, { to: ["red", "blue"], args: [{ x: [1] }] }, { to: [b1.id], args: [] }];
      await c.do("emitSeries", { event: "item", count: 500, series });
      await c.flush();
    },
  },
].map((row) => ({ ...row, emitter: true }));
