// Builds dist/: the demo page and the eight client bundle files of the socket.io package, the latter also
// compressed ahead of time (Brotli is in no Go library that this project uses).
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const require = createRequire(import.meta.url);
const bundles = join(dirname(require.resolve("socket.io/package.json")), "client-dist");

for (const name of readdirSync(dist)) {
  if (name !== ".gitkeep") rmSync(join(dist, name), { recursive: true });
}

const page = join(dist, "page");
mkdirSync(page);
for (const name of readdirSync(join(here, "src"))) {
  copyFileSync(join(here, "src", name), join(page, name));
}

const client = join(dist, "client");
mkdirSync(client);
for (const name of readdirSync(bundles)) {
  const data = readFileSync(join(bundles, name));
  writeFileSync(join(client, name), data);
  writeFileSync(join(client, `${name}.gz`), gzipSync(data, { level: 9 }));
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
    [constants.BROTLI_PARAM_SIZE_HINT]: data.length,
  };
  writeFileSync(join(client, `${name}.br`), brotliCompressSync(data, { params }));
}
