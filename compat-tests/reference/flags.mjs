// The reference servers take the flags of `sockeye serve`, so that a test starts both sides alike.

const durations = new Set(["pingInterval", "pingTimeout", "upgradeTimeout", "connectTimeout", "httpRequestBodyTimeout", "connectionStateRecovery"]);
const units = { ms: 1, s: 1000, m: 60000 };

function duration(text) {
  const [, number, unit] = /^([\d.]+)(ms|s|m)$/.exec(text);
  return Number(number) * units[unit];
}

/** Turns ["--ping-interval", "300ms", "--no-allow-upgrades"] into {pingInterval: 300, allowUpgrades: false}. */
export function parseFlags(argv) {
  const flags = {};
  for (let i = 0; i < argv.length; i++) {
    if (!argv[i].startsWith("--")) continue;
    let [name, value] = argv[i].slice(2).split(/=(.*)/s);
    const negated = name.startsWith("no-");
    const key = name.replace(/^no-/, "").replace(/-(\w)/g, (_, c) => c.toUpperCase());
    if (value === undefined && i + 1 < argv.length && !argv[i + 1].startsWith("--")) value = argv[++i];
    flags[key] = negated ? false : value === undefined ? true : durations.has(key) ? duration(value) : value;
  }
  return flags;
}

/** The engine options that the flags stand for. */
export function engineOptions(flags) {
  const opts = {};
  for (const key of [...durations, "allowUpgrades", "perMessageDeflate", "initialPacket"]) if (flags[key] !== undefined) opts[key] = flags[key];
  if (flags.connectionStateRecovery) opts.connectionStateRecovery = { maxDisconnectionDuration: flags.connectionStateRecovery };
  if (flags.httpCompression === false) opts.httpCompression = false;
  if (flags.maxHttpBufferSize) opts.maxHttpBufferSize = Number(flags.maxHttpBufferSize);
  if (flags.maxBufferedChunks) opts.maxBufferedChunks = Number(flags.maxBufferedChunks);
  if (flags.transports) opts.transports = flags.transports.split(",");
  if (flags.cookie) opts.cookie = { name: flags.cookie };
  if (flags.corsOrigin) opts.cors = { origin: flags.corsOrigin === "*" ? "*" : flags.corsOrigin.split(",") };
  if (flags.corsReflectOrigin) opts.cors = { origin: true };
  if (flags.corsCredentials) opts.cors.credentials = true;
  return opts;
}
