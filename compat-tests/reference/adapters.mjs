// The official Redis adapters and emitters behind the flags of `sockeye serve`.
import { encode } from "@msgpack/msgpack";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { Emitter } from "@socket.io/redis-emitter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { createClient, createCluster } from "redis";

/** Connects to the Redis at a URL; with several, separated by commas, to the Redis Cluster that these belong to. */
async function connect(url) {
  const rootNodes = url.split(",").map((url) => ({ url }));
  const client = rootNodes.length > 1 ? createCluster({ rootNodes }) : createClient({ url });
  client.on("error", (err) => console.error("redis:", err.message));
  await client.connect(); // which gives the client of a cluster nothing to return
  return client;
}

/** The options that were given; the packages take an undefined one for a value. */
const defined = (options) => Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

/** Values of --redis-parser. */
const parsers = { json: { encode: JSON.stringify, decode: JSON.parse } };

const flavours = {
  pubsub: ({ key, publishOnSpecificResponseChannel, redisParser }, pub, sub) => ({
    adapter: createAdapter(pub, sub, defined({ key, publishOnSpecificResponseChannel, parser: parsers[redisParser] })),
    emitter: () => new Emitter(pub, defined({ key, parser: parsers[redisParser] })),
  }),
  // There is no emitter for the sharded adapter: the namespace of a server stands in for one.
  sharded: ({ key, subscriptionMode }, pub, sub) => ({
    adapter: createShardedAdapter(pub, sub, defined({ channelPrefix: key, subscriptionMode })),
    emitter: (io) => io,
  }),
  streams: ({ streamName, key, useShardedPubSub }, pub) => ({
    adapter: createStreamsAdapter(pub, defined({ streamName, channelPrefix: key, useShardedPubSub })),
    emitter: () => ({ of: (nsp) => new StreamsEmitter(pub, streamName, nsp) }),
  }),
};

/** Connects to Redis: {adapter: an option of the server, emitter(io): what has of(nsp)}, or {} without --redis. */
export async function cluster(flags) {
  if (!flags.redis) return {};
  const [pub, sub] = await Promise.all([connect(flags.redis), connect(flags.redis)]);
  return flavours[flags.adapter](flags, pub, sub);
}

/** Writes entries as @socket.io/redis-streams-emitter 0.1 does, which is in no registry. */
class StreamsEmitter {
  constructor(redis, stream, nsp, { rooms = [], except = [], flags = {} } = {}) {
    Object.assign(this, { redis, stream, nsp, selection: { rooms, except, flags } });
  }
  #with(change) {
    return new StreamsEmitter(this.redis, this.stream, this.nsp, { ...this.selection, ...change });
  }
  #add(type, data) {
    const text = hasBinary(data) ? Buffer.from(encode(data)).toString("base64") : JSON.stringify(data);
    this.redis.xAdd(this.stream, "*", { uid: "emitter", nsp: this.nsp, type: String(type), data: text });
  }
  to(rooms) {
    return this.#with({ rooms: [...this.selection.rooms, ...rooms] });
  }
  except(rooms) {
    return this.#with({ except: [...this.selection.except, ...rooms] });
  }
  get volatile() {
    return this.#with({ flags: { ...this.selection.flags, volatile: true } });
  }
  compress(compress) {
    return this.#with({ flags: { ...this.selection.flags, compress } });
  }
  emit(...data) {
    this.#add(3, { packet: { type: 2, data, nsp: this.nsp }, opts: this.selection });
  }
  socketsJoin(rooms) {
    this.#add(4, { opts: { ...this.selection, flags: {} }, rooms });
  }
  socketsLeave(rooms) {
    this.#add(5, { opts: { ...this.selection, flags: {} }, rooms });
  }
  disconnectSockets(close = false) {
    this.#add(6, { opts: { ...this.selection, flags: {} }, close });
  }
  serverSideEmit(...packet) {
    this.#add(9, { packet });
  }
}

function hasBinary(value) {
  if (value === null || typeof value !== "object") return false;
  return ArrayBuffer.isView(value) || Object.values(value).some(hasBinary);
}
