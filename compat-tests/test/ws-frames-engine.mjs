// What the Engine.IO layer makes of good frames with good and bad packets.
import { BINARY, PING, TEXT, frame } from "./lib/rawws.mjs";

const ending = ["", "2", "2probe", "9", "7", "x", "a4", " 4", "\u0000", "-1", "\u{1f600}", '{"type":"message"}'];
const going = ["0", "0{}", "1", "3", "3probe", "5", "6", "6noop", "4", "4\u0000", "44", "b", "bAQID", "bAQID==", "b!!!", "bAQ", "b\u20ac"];

export const engine = [
  ...ending.map((packet) => ({ name: `packet ${JSON.stringify(packet)}`, send: [frame(TEXT, packet)], finish: "answer" })),
  ...going.map((packet) => ({ name: `packet ${JSON.stringify(packet)}`, send: [frame(TEXT, packet)] })),
  { name: "bad packet, then a message", send: [Buffer.concat([frame(TEXT, "x"), frame(TEXT, "4a")])], finish: "answer" },
  { name: "message, then a bad packet", send: [frame(TEXT, "4a"), frame(TEXT, "x")], finish: "answer" },
  { name: "bad packet, then a ping", send: [Buffer.concat([frame(TEXT, "x"), frame(PING, "a")])], finish: "answer" },
  { name: "bad packet, then a violation", send: [Buffer.concat([frame(TEXT, "x"), frame(3)])], finish: "end" },
  { name: "text packet in a binary frame", send: [frame(BINARY, "4a")] },
  { name: "bad packet in a binary frame", send: [frame(BINARY, "x")] },
  { name: "packets joined as in a polling payload", send: [frame(TEXT, "4a\u001e4b")] },
];
