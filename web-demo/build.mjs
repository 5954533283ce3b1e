// Builds dist/: the chat page, and the eight client bundle files of the npm package, the latter also compressed ahead of
// time (Brotli is in no Go library that this project uses).
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const bundles = join(here, "node_modules", "socket.io-client", "dist");
const names = ["socket.io.js", "socket.io.min.js", "socket.io.esm.min.js", "socket.io.msgpack.min.js"];

for (const name of readdirSync(dist)) {
  if (name !== ".gitkeep") rmSync(join(dist, name), { recursive: true });
}

await build({
  root: join(here, "src"),
  configFile: false,
  logLevel: "warn",
  // Relative addresses, so that the page works below any prefix of a proxy.
  base: "./",
  build: { outDir: join(dist, "page"), emptyOutDir: false, target: "es2022", modulePreload: { polyfill: false }, assetsInlineLimit: 0 },
});

// The packages inside a bundle, as the sources of its map name them: "../../engine.io-client/build/…" in the repository from
// which it is published, "../build/…" for the client itself, "debug/src/…" for foreign packages.
function packagesIn(map) {
  return JSON.parse(map).sources.map((source) => {
    const [first, second] = source.replace(/^.*node_modules\//, "").replaceAll("../", "").split("/");
    if (first === "build") return "socket.io-client";
    if (first === "socket.io-component-emitter") return "@socket.io/component-emitter";
    return first.startsWith("@") ? `${first}/${second}` : first;
  });
}

// The licence of a package as it is published. A package without one stops the build.
function licenceOf(name) {
  const dir = join(here, "node_modules", name);
  const file = readdirSync(dir).find((entry) => /^licen[cs]e(\.\w+)?$/i.test(entry));
  if (!file) throw new Error(`${name} has no licence file`);
  const { version } = JSON.parse(readFileSync(join(dir, "package.json")));
  return `${name} ${version}\n\n${readFileSync(join(dir, file), "utf8").trim()}\n`;
}

const client = join(dist, "client");
const inside = new Set();
mkdirSync(client);
for (const name of names.flatMap((n) => [n, `${n}.map`])) {
  const data = readFileSync(join(bundles, name));
  if (name.endsWith(".map")) packagesIn(data).forEach((name) => inside.add(name));
  writeFileSync(join(client, name), data);
  writeFileSync(join(client, `${name}.gz`), gzipSync(data, { level: 9 }));
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
    [constants.BROTLI_PARAM_SIZE_HINT]: data.length,
  };
  writeFileSync(join(client, `${name}.br`), brotliCompressSync(data, { params }));
}

// The page contains the same client, and nothing else of others.
const rule = `\n${"-".repeat(80)}\n\n`;
writeFileSync(join(client, "LICENSE"), `These bundles contain:\n${rule}${[...inside].sort().map(licenceOf).join(rule)}`);
