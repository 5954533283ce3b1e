// Sends what it is told, one JSON object per line, through npm's socket.io-emitter 3.2.0, and says when Redis has it.
const readline = require("node:readline");
const redis = require("redis");
const emitterOf = require("socket.io-emitter");

const [host, port, key, namespace] = process.argv.slice(2);
const client = redis.createClient(Number(port), host);
const emitter = emitterOf(client, { key }).of(namespace);

/** Gives back what JSON has no word for. */
function revive(value) {
  if (value === null || typeof value !== "object") return value;
  if ("$undefined" in value) return undefined;
  if ("$bin" in value) return Buffer.from(value.$bin, "hex");
  if ("$date" in value) return new Date(value.$date);
  if (Array.isArray(value)) return value.map(revive);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, revive(item)]));
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const { rooms = [], flags = [], args } = JSON.parse(line);
  let op = emitter;
  for (const room of rooms) op = op.to(revive(room));
  for (const flag of flags) op = op[flag];
  op.emit(...args.map(revive));
  client.ping(() => process.stdout.write(`${JSON.stringify("sent")}\n`));
});
process.stdin.on("end", () => client.quit());
