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

const client = join(dist, "client");
mkdirSync(client);
for (const name of names.flatMap((n) => [n, `${n}.map`])) {
  const data = readFileSync(join(bundles, name));
  writeFileSync(join(client, name), data);
  writeFileSync(join(client, `${name}.gz`), gzipSync(data, { level: 9 }));
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
    [constants.BROTLI_PARAM_SIZE_HINT]: data.length,
  };
  writeFileSync(join(client, `${name}.br`), brotliCompressSync(data, { params }));
}
