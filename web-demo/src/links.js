// Addresses in what people write, as links. Only http and https, never markup: a link is an element around the text as it
// was written.
import { h } from "./dom.js";

// No white space, no quotes and angle brackets, no invisible sign that turns text around and makes an address look like another.
const address = /\bhttps?:\/\/[^\s<>"\p{Cc}\p{Cf}]+/giu;
const closing = { ")": "(", "]": "[", "}": "{" };

/** Leaves out what ends a sentence and not an address: "(see http://a/b)." means http://a/b. */
function trimmed(found) {
  let end = found.length;
  const count = (sign) => found.slice(0, end).split(sign).length;
  for (; end > 0; end--) {
    const last = found[end - 1];
    const open = closing[last];
    if (open ? count(last) <= count(open) : !/[.,;:!?'’»”…*_~`]/.test(last)) break;
  }
  return found.slice(0, end);
}

/** The address that a text means, or null. One with a user's name in front of the host pretends to be of another host. */
function target(text) {
  try {
    const url = new URL(text);
    return /^https?:$/.test(url.protocol) && !url.username && !url.password ? url : null;
  } catch {
    return null;
  }
}

/** A text as what an element can be filled with: strings, and links between them. */
export function linked(text) {
  const parts = [];
  let at = 0;
  for (const { 0: found, index } of text.matchAll(address)) {
    const written = trimmed(found);
    const url = target(written);
    if (!url) continue;
    parts.push(text.slice(at, index), h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer", title: url.host }, written));
    at = index + written.length;
  }
  return [...parts, text.slice(at)];
}
