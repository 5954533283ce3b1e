// A node of the npm reference for TestBursts of internal/outage: it sends as much as it can at once, or counts what arrives. Arguments:
// address of Redis, flavour (pubsub, sharded or streams). Each line on its standard input is a command, answered by a line of JSON:
//   send FIRST NUMBER SIZE   broadcasts numbered messages in one go
//   forget                   forgets what has arrived
//   seen                     says what has arrived, when the last one did (ms), and how many came out of order
import readline from "node:readline";
import { Server } from "socket.io";
import { Adapter } from "socket.io-adapter";
import { cluster } from "./adapters.mjs";

const [address, flavour] = process.argv.slice(2);

// What the adapters cannot send is rejected, and they do not catch it.
let rejected = 0;
process.on("unhandledRejection", () => rejected++);

let seen;
const forget = () => (seen = { arrived: 0, last: 0, disorder: 0, next: 0 });
forget();
// The adapters hand what comes from other nodes to the one that they extend.
const { broadcast } = Adapter.prototype;
Adapter.prototype.broadcast = function (packet, opts) {
  if (packet.data[0] === "burst") {
    const number = Number.parseInt(packet.data[1], 10);
    seen.arrived++;
    seen.last = Date.now();
    if (number < seen.next) seen.disorder++;
    seen.next = number + 1;
  }
  return broadcast.call(this, packet, opts);
};

const { adapter } = await cluster({ redis: `redis://${address}`, adapter: flavour });
const io = new Server({ adapter });
io.of("/");

const commands = {
  send(first, number, size) {
    const filling = "x".repeat(size);
    for (let i = 0; i < number; i++) io.emit("burst", `${first + i} ${filling}`);
    return {};
  },
  forget() {
    forget();
    return {};
  },
  seen: () => ({ ...seen, rejected }),
};
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [name, ...args] = line.split(" ");
  console.log(JSON.stringify(commands[name](...args.map(Number))));
}
process.exit(0);
