// Prints which versions of the reference are installed. With --ask it also asks npm for newer ones; a registry that cannot be
// reached is no error.
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";

const packages = [
  "socket.io", "socket.io-client", "socket.io-parser", "socket.io-adapter", "engine.io", "engine.io-client", "engine.io-parser", "ws",
  "@socket.io/redis-adapter", "@socket.io/redis-streams-adapter", "@socket.io/redis-emitter",
];
const installed = Object.fromEntries(packages.map((name) => [name, version(name)]));
console.log(`reference: ${packages.map((name) => `${name} ${installed[name]}`).join(", ")}; Node.js ${process.version}`);
if (process.argv.includes("--ask")) console.log(await news());

function version(name) {
  return JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;
}

async function news() {
  const outdated = await ask();
  if (outdated === undefined) return "npm could not be asked for newer ones";
  const newer = packages.flatMap((name) => {
    const latest = [outdated[name] ?? []].flat()[0]?.latest;
    return latest && latest !== installed[name] ? [`${name} ${latest}`] : [];
  });
  return newer.length > 0 ? `npm has newer ones: ${newer.join(", ")}` : "npm has no newer ones";
}

/** The packages of which npm has newer versions, or nothing if npm cannot be asked. It reports by its exit code that there are some. */
function ask() {
  const args = ["outdated", "--json", "--all", "--fetch-retries=0", "--fetch-timeout=15000"];
  return new Promise((resolve) => {
    execFile("npm", args, { cwd: new URL(".", import.meta.url), timeout: 60000 }, (_, out) => {
      try {
        const outdated = JSON.parse(out);
        resolve(outdated.error ? undefined : outdated);
      } catch {
        resolve(undefined);
      }
    });
  });
}
