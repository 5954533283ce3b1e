// A Socket.IO client that only sends and records wire packets over one WebSocket.
import { Decoder } from "socket.io-parser";
import { FrameLog } from "./engineclient.mjs";

/** Engine pings are answered at once and kept out of `packets`. */
export class PacketClient {
  static async open(addr, names, name = "engine") {
    const client = new PacketClient();
    client.names = names;
    client.log = await FrameLog.session(addr, names, { path: "/socket.io/", name });
    client.seen = 1;
    client.packets = [];
    client.log.ws.on("message", (data, binary) => {
      if (!binary && data.toString() === "2") client.log.send("3");
    });
    return client;
  }
  send(...packets) {
    for (const packet of packets) this.log.send(packet);
    return this;
  }
  /** Waits for the next packet, undefined once the connection is closed. */
  async next(timeout = 5000) {
    const deadline = Date.now() + timeout;
    for (;;) {
      const frame = await this.log.frame(this.seen, Math.max(1, deadline - Date.now()));
      if (frame === undefined) return undefined;
      this.seen++;
      if (frame === "2") continue;
      this.#nameSocket(frame);
      this.packets.push(frame);
      return frame;
    }
  }
  async take(n) {
    const out = [];
    for (let i = 0; i < n; i++) out.push(await this.next());
    return out;
  }
  /** The next packet with its attachments put in their places, as a client's parser gives it to its application. */
  async decoded() {
    const decoder = new Decoder();
    let packet;
    decoder.on("decoded", (p) => (packet = p));
    while (!packet) {
      const frame = await this.next();
      if (frame === undefined) return undefined;
      decoder.add(frame.binary === undefined ? frame.slice(1) : Buffer.from(frame.binary, "hex"));
    }
    return packet;
  }
  #nameSocket(frame) {
    const match = typeof frame === "string" && /^40(?:([^,{]+),)?\{"sid":"([^"]+)"/.exec(frame);
    if (match) this.names.add(match[2], `socket of ${match[1] ?? "/"}`);
  }
  /** Everything until the connection ends, and how it ended. */
  async rest() {
    const packets = [];
    for (let p = await this.next(); p !== undefined; p = await this.next()) packets.push(p);
    return { packets, end: this.log.closed ?? this.log.refused };
  }
  /** Connects to a namespace and drops the greeting. */
  async connect(packet = "40", greetings = 2) {
    this.send(packet);
    return this.take(greetings);
  }
  destroy() {
    this.log.destroy();
  }
}
