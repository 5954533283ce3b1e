// A thread that computes and allocates until it is terminated.
import { createHash } from "node:crypto";
import { workerData as done } from "node:worker_threads";

let sum = Buffer.alloc(32);
for (;;) {
  const data = Buffer.alloc(4096);
  sum.copy(data);
  sum = createHash("sha256").update(data).digest();
  Atomics.add(done, 0, 1n);
}
