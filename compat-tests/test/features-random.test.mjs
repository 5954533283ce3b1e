// Long random sequences of everything that selects sockets, the same at both servers: who received what, in which order.
import { after } from "node:test";
import { stopShared } from "./lib/servers.mjs";
import { scenario } from "./lib/scenario.mjs";

after(stopShared);

const ROOMS = ["r1", "r2", "r3", "r4"];
const NAMES = ["a", "b", "c", "d"];
const STEPS = 150;

/** A small linear congruential generator: the seed alone decides the sequence. */
function generator(seed) {
  let state = seed;
  const below = (n) => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return Math.floor((state / 2147483648) * n);
  };
  return { below, pick: (list) => list[below(list.length)], some: (list) => list.filter(() => below(3) === 0) };
}

function selection({ below, pick, some }, clients) {
  const socket = below(3) === 0 ? pick(clients) : undefined;
  const to = below(4) === 0 ? [] : some([...ROOMS, ...clients.map((c) => c.id)]);
  const except = below(3) === 0 ? some(ROOMS) : [];
  return { to, except, ...(socket && { socket: socket.id, broadcast: true }) };
}

/** Performs one random step; emits carry the step's number, so that order and loss show. */
async function step(run, random, clients, n) {
  const client = random.pick(clients);
  switch (random.below(8)) {
    case 0:
      return run.command("join", { socket: client.id, rooms: random.some(ROOMS) });
    case 1:
      return run.command("leave", { socket: client.id, rooms: random.some(ROOMS) });
    case 2:
      return run.command("socketsJoin", { ...selection(random, clients), rooms: [random.pick(ROOMS)] });
    case 3:
      return run.command("socketsLeave", { ...selection(random, clients), rooms: [random.pick(ROOMS)] });
    case 4:
      return run.command("emit", { socket: client.id, event: "direct", args: [n] });
    default: {
      const args = random.below(4) === 0 ? [n, { $bin: "0a0b" }] : [n];
      return run.command("emit", { ...selection(random, clients), event: "news", args });
    }
  }
}

for (const seed of [1, 2, 3]) {
  scenario(`random selections, seed ${seed}`, { timeout: 60000 }, async (run) => {
    const random = generator(seed);
    await run.create();
    const clients = [];
    for (const name of NAMES) {
      const client = run.client(name);
      await client.connected();
      clients.push(client);
    }
    for (let n = 0; n < STEPS; n++) await step(run, random, clients, n);
    await run.settle();
    return run.transcript({ rooms: await run.command("allRooms"), sockets: await run.command("fetchSockets") });
  });
}
