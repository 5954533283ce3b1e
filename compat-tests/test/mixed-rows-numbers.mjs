// Rows of the matrix: rooms that are numbers in Node, as ids from a database are.

const byText = (x, y) => (JSON.stringify(x) < JSON.stringify(y) ? -1 : 1);

/** Clients in the rooms 43 and 7; in Node one of them is in the room "43", too. */
async function numbered(c, ...names) {
  const clients = await c.setUp(...names);
  for (const client of clients) {
    client.answer("question", () => client.name);
    if (client.name === "b3") continue;
    await c.join(client, 43);
    if (client.name === "b2") await c.join(client, "43", 7);
  }
  return clients;
}

const selections = (id) => [
  { to: [43] }, { to: [7] }, { to: [43, 7] }, { to: [43, "nobody's"] }, { to: [43, id] }, { except: [43] }, { except: [7] },
  { to: [43], except: [7] }, { to: [-43] }, { to: [43], volatile: true },
];

const roomsOf = (c, clients) => Promise.all(clients.map((client) => c.rooms(client)));

export const numberRows = [
  {
    name: "rooms that are numbers: emit",
    async run(c) {
      const [, b1] = await numbered(c, "a1", "b1", "b2", "b3");
      for (const [n, selection] of selections(b1.id).entries()) {
        await c.do("emit", { event: "news", args: [n], ...selection });
        await c.flush();
      }
    },
  },
  {
    name: "rooms that are numbers: questions",
    async run(c) {
      const [, b1] = await numbered(c, "a1", "b1", "b2", "b3");
      const found = [];
      for (const selection of selections(b1.id).filter(({ volatile }) => !volatile)) {
        const { failed, values } = await c.do("broadcastAck", { event: "question", timeout: 8000, ...selection });
        found.push([failed, values.sort(byText), await c.do("count", selection), await c.do("ids", selection), await c.do("fetchSockets", selection)]);
      }
      return { found };
    },
  },
  {
    name: "rooms that are numbers: socketsJoin, socketsLeave, disconnectSockets",
    async run(c) {
      const [a1, b1, b2, b3] = await numbered(c, "a1", "b1", "b2", "b3");
      await c.do("socketsJoin", { to: [43], rooms: [44, 45] });
      await c.inRoom("45", a1, b1, b2);
      await c.do("socketsLeave", { to: [44], except: [7], rooms: [45] });
      await c.notInRoom("45", a1, b1);
      await c.flush();
      const before = await roomsOf(c, [a1, b1, b2, b3]);
      await c.do("socketsLeave", { rooms: [44] });
      await c.notInRoom("44", a1, b1, b2);
      await c.do("disconnectSockets", { to: [43], except: [7] });
      await Promise.all([a1.disconnected(), b1.disconnected()]);
      await Promise.all([c.from.waitDisconnect(a1), c.to.waitDisconnect(b1)]);
      await c.do("emit", { event: "still here" });
      await c.flush();
      return { before, after: await roomsOf(c, [b2, b3]) };
    },
  },
  {
    name: "emitter: rooms that are numbers",
    emitter: true,
    async run(c) {
      const [b1, b2, b3] = await numbered(c, "b1", "b2", "b3");
      for (const [n, selection] of selections(b1.id).entries()) {
        await c.do("emit", { event: "news", args: [n], ...selection });
        await c.flush();
      }
      await c.do("socketsJoin", { to: [43], rooms: [44] });
      await c.inRoom("44", b1, b2);
      await c.do("socketsLeave", { to: [44], except: [7], rooms: [44] });
      await c.notInRoom("44", b1);
      const rooms = await roomsOf(c, [b1, b2, b3]);
      await c.do("disconnectSockets", { to: [7] });
      await b2.disconnected();
      await c.to.waitDisconnect(b2);
      return { rooms };
    },
  },
];
