// A real nginx of a test's own, on a free loopback port, in front of one server.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { provide } from "./install.mjs";
import { freePort } from "./port.mjs";
import { sleep } from "./sleep.mjs";

const executable = process.env.NGINX_BIN ?? "/usr/sbin/nginx";

export function provideNginx() {
  provide({ what: "The tests behind a proxy", program: executable, name: "nginx-light", variable: "NGINX_BIN" });
}

/** Starts nginx with its defaults but for the given directives of the location, and waits until it listens: {addr, stop()}. */
export async function startNginx(upstream, directives) {
  provideNginx();
  const port = await freePort();
  const dir = await mkdtemp(path.join(os.tmpdir(), "nginx-"));
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${dir}/${name};`);
  const user = process.getuid?.() === 0 ? "user root;" : "";
  await writeFile(path.join(dir, "nginx.conf"), `${user} daemon off; pid ${dir}/pid; events {}
http { access_log off; error_log stderr; ${temporary.join(" ")}
  server { listen 127.0.0.1:${port}; location / { proxy_pass http://${upstream.host}:${upstream.port}; ${directives.join(" ")} } } }`);
  const child = spawn(executable, ["-p", dir, "-e", "stderr", "-c", path.join(dir, "nginx.conf")], { stdio: ["ignore", "ignore", "pipe"] });
  const exited = once(child, "exit");
  const output = [];
  child.stderr.on("data", (data) => output.push(data));
  while (!(await listens(port))) {
    if (child.exitCode !== null) throw new Error(`nginx ended\n${Buffer.concat(output)}`);
    await sleep(20);
  }
  return {
    addr: { host: "127.0.0.1", port },
    async stop() {
      child.kill("SIGTERM");
      await exited;
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function listens(port) {
  const socket = net.connect(port, "127.0.0.1");
  const open = await Promise.race([once(socket, "connect").then(() => true), once(socket, "error").then(() => false)]).catch(() => false);
  socket.destroy();
  return open;
}
