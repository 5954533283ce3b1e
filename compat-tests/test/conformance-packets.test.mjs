// The Socket.IO v5 protocol document as test cases, run under the flags of a conformance run.
import { after } from "node:test";
import { PollingSession } from "./lib/engineclient.mjs";
import { PacketClient } from "./lib/packetclient.mjs";
import { recordResponse } from "./lib/rawhttp.mjs";
import { stopShared } from "./lib/servers.mjs";
import { sleep } from "./lib/sleep.mjs";
import { differential } from "./lib/transcript.mjs";

after(stopShared);

const conformance = {
  args: ["--app", "conformance", "--ping-interval", "300ms", "--ping-timeout", "5s", "--connect-timeout", "1s", "--cors-origin", "*"],
};

/** A test on a client that has or has not yet connected to the main namespace. */
function packets(name, script, { connected = true } = {}) {
  differential(name, conformance, async ({ addr, names }) => {
    const client = await PacketClient.open(addr, names);
    const greeting = connected ? await client.connect() : [];
    const result = await script(client, names);
    client.destroy();
    return { greeting, result };
  });
}

const fresh = { connected: false };

packets("connect: main namespace", (c) => c.connect(), fresh);
packets("connect: main namespace by name", (c) => c.connect("40/,"), fresh);
packets("connect: with an auth payload", (c) => c.connect('40{"token":"123"}'), fresh);
packets("connect: auth payload with odd members", (c) => c.connect('40{"__proto__":1,"b":[1,{"c":null}],"":2,"a":"x"}'), fresh);
packets("connect: custom namespace", (c) => c.connect("40/custom,"), fresh);
packets("connect: custom namespace with auth", (c) => c.connect('40/custom,{"token":"abc"}'), fresh);
packets("connect: custom namespace without the comma", (c) => c.connect("40/custom"), fresh);
packets("connect: custom namespace with a query", (c) => c.connect("40/custom?token=1,", 1), fresh);
packets("connect: unknown namespace", (c) => c.connect("40/random,", 1), fresh);
packets("connect: unknown namespace, then the main one", async (c) => [await c.connect("40/random,", 1), await c.connect()], fresh);
packets("connect: both namespaces", async (c) => [await c.connect("40/custom,"), c.send('42["message",1]') && (await c.next())]);
packets("connect: twice to the same namespace", (c) => c.send("40").rest());
packets("connect: none within the time limit", (c) => c.rest(), fresh);
packets("connect: only an unknown namespace within the time limit", async (c) => [await c.connect("40/random,", 1), await c.rest()], fresh);

for (const payload of ["4", "4abc", "40abc", "40{", '40"abc"', "40123", "40[]", "40null", "40true", "41", '42["message"]', "43[]", "45", "47", "49", '44{"message":"x"}']) {
  packets(`first packet ${payload}`, async (c) => {
    c.send(payload);
    const first = await Promise.race([c.next(3000), sleep(400)]);
    return { first: first ?? null, closed: c.log.closed ?? null };
  }, fresh);
}

packets("disconnect: by the client, then connect again", async (c) => {
  c.send("41");
  await sleep(30); // the reference handles the packet in a later turn
  return c.connect();
});
packets("disconnect: an event afterwards closes the connection", async (c) => {
  c.send("41");
  await sleep(30);
  return c.send('42["message",1]').rest();
});
packets("disconnect: custom namespace only", async (c) => {
  await c.connect("40/custom,");
  c.send("41/custom,", '42["message","still here"]');
  return c.next();
});
packets("disconnect: the connection closes when no namespace is left for long", async (c) => {
  c.send("41");
  await sleep(1300);
  return { closed: c.log.closed ?? null };
});

packets("event: plain arguments", (c) => c.send('42["message",1,"2",{"3":[true]},null]').take(1));
packets("event: without arguments", (c) => c.send('42["message"]').take(1));
packets("event: unicode", (c) => c.send('42["message","\u00e9\u20ac\u{1f600}\u2028","\\u0000\\ud83d"]').take(1));
packets("event: namespace named in full", (c) => c.send('42/,["message",1]').take(1));
packets("event: binary", (c) => c.send('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6])).take(3));
packets("event: binary, nested and reordered", (c) => c.send('452-["message",{"a":[{"_placeholder":true,"num":1}],"b":{"_placeholder":true,"num":0}}]', Buffer.from([1]), Buffer.from([2])).take(3));
packets("event: a placeholder in a plain event is data", (c) => c.send('42["message",{"_placeholder":true,"num":0}]').take(1));
packets("event: an unknown name is ignored", (c) => c.send('42["nobody listens",1]', '42["message",2]').take(1));
packets("event: a number as a name", (c) => c.send("42[1,2]", '42["message",3]').take(1));
packets("event: nothing answers an ack for an unknown event", (c) => c.send('421["nobody listens",1]', '42["message",2]').take(1));

packets("ack: plain", (c) => c.send('42456["message-with-ack",1,"2",{"3":[false]}]').take(1));
packets("ack: id 0", (c) => c.send('420["message-with-ack"]').take(1));
packets("ack: a large id", (c) => c.send('429007199254740991["message-with-ack",1]').take(1));
packets("ack: binary", (c) => c.send('452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]', Buffer.from([1, 2, 3]), Buffer.from([4, 5, 6])).take(3));
packets("ack: one that nobody waits for is ignored", (c) => c.send('43999["x"]', '42["message",1]').take(1));

const invalid = [
  "", "4", "4abc", "48", "47[]", "4a", "42", "42{}", '42"message"', "42[]", "42[null]", "42[true]", "42[{}]", '42["message"', '42["message"]x',
  '42["connect"]', '42["connect_error"]', '42["disconnect"]', '42["disconnecting"]', '42["newListener"]', '42["removeListener"]', '42["error"]', '42["connection"]',
  "43", "43[]", "431{}", '431"x"', "431", '44{"message":"x"}', '44"x"', "441", "44", "41{}", '41["x"]', "41null", "40{}", "40/other,abc",
  "45", "45-", "450-", '450-["message"]', '451["message"]', '45x-["message"]', '451.5-["message"]', '45-1-["message"]', '4511-["message",{"_placeholder":true,"num":0}]',
  '451-["message"]', '45 1-["message"]', '451e1-["message"]', "42/x", '42/x,["message"]', '42/custom,["message"]', '42,["message"]', '42-1["message"]', '421 ["message",2]', '42["message",1]\n', '42 ["message",5]',
  '42/,5["message-with-ack",1]', '42/custom', "4\u20ac",
];
for (const packet of invalid) {
  packets(`invalid or odd packet ${JSON.stringify(packet)}`, async (c) => {
    c.send(packet, '42["message","after"]');
    const answer = await Promise.race([c.next(3000), c.log.end().then(() => undefined)]);
    await sleep(20);
    return { answer: answer ?? null, closed: c.log.closed ?? null };
  });
}

packets("binary without a header", (c) => c.send(Buffer.from([1])).rest());
packets("a text packet while attachments are pending", (c) => c.send('451-["message",{"_placeholder":true,"num":0}]', '42["message",1]').rest());
packets("a ping while attachments are pending is fine", async (c) => {
  c.send('451-["message",{"_placeholder":true,"num":0}]');
  await sleep(350);
  return c.send(Buffer.from([7])).take(2);
});
packets("more attachments than announced", async (c) => {
  const answer = await c.send('451-["message",{"_placeholder":true,"num":0}]', Buffer.from([1])).take(2);
  return [answer, await c.send(Buffer.from([2])).rest()];
});
packets("a placeholder number out of range", (c) => c.send('451-["message",{"_placeholder":true,"num":1}]', Buffer.from([1])).rest());
packets("a negative placeholder number", (c) => c.send('451-["message",{"_placeholder":true,"num":-1}]', Buffer.from([1])).rest());
packets("a placeholder number that is no number", (c) => c.send('451-["message",{"_placeholder":true,"num":"0"}]', Buffer.from([1])).rest());
packets("ten attachments", (c) => c.send('4510-["message",{"_placeholder":true,"num":9}]', ...Array.from({ length: 10 }, (_, i) => Buffer.from([i]))).take(2));
// The reference sends such an attachment back twice, Sockeye once; what a client makes of it is the same.
packets("an attachment used twice", (c) => c.send('451-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]', Buffer.from([5])).decoded());

differential("connect over polling", conformance, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names, "sid", { path: "/socket.io/" });
  const post = recordResponse(await session.post('40{"a":1}'));
  const frames = [];
  while (frames.length < 2) frames.push(...(await session.packets()).filter((p) => p !== "2"));
  names.add(JSON.parse(frames[0].slice(2)).sid, "socket");
  await session.post('451-["message",{"_placeholder":true,"num":0}]\x1ebAQI=');
  while (frames.length < 4) {
    const packets = await session.packets();
    if (packets.includes("2")) await session.post("3");
    frames.push(...packets.filter((p) => p !== "2"));
  }
  return { post, frames };
});
differential("an invalid packet over polling closes the session", conformance, async ({ addr, names }) => {
  const session = await PollingSession.open(addr, names, "sid", { path: "/socket.io/" });
  const post = recordResponse(await session.post("4abc"));
  return { post, poll: recordResponse(await session.poll()), then: recordResponse(await session.poll()) };
});
