// Debian packages that tests need beside Node and Go.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";

/** Installs a package if its program is missing and this process may do so; `variable` names another program instead. */
export function provide({ what, program, name, variable }) {
  if (existsSync(program)) return;
  const hint = `${what} need ${name}: run \`apt-get install ${name}\` as root, or set ${variable} to an installed one.`;
  if (process.env[variable] || process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) throw new Error(hint);
  const options = { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
  try {
    execFileSync("apt-get", ["update", "-qq"], options);
    execFileSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", name], options);
  } catch (error) {
    throw new Error(hint, { cause: error });
  }
}
