// Builds dist/: the page and one script with the packages inside.
import { copyFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const at = (name) => fileURLToPath(new URL(name, import.meta.url));
await build({ entryPoints: [at("editor.js")], outfile: at("dist/editor.js"), bundle: true, minify: true, format: "esm", target: "es2022", logLevel: "warning" });
copyFileSync(at("index.html"), at("dist/index.html"));
