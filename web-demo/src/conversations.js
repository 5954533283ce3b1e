// The conversations of this visit: messages, what happened to them, unread counts, who is typing. No DOM and no
// network here. They are kept in the tab's session storage, so that a reload does not lose them.
import { storage } from "./storage.js";

const maxMessages = 300; // kept per conversation
const maxConversations = 200;
const maxShown = 10_000; // characters of one message
const typingTime = 5000; // ms for which "is typing" holds

export const isRoom = (id) => id.startsWith("#");

/** Stands for senders that have not logged in. No user has this name: the server refuses control characters. */
export const nobody = "\u0000";

/** What to call a user or room. */
export const nameOf = (id) => (id === nobody ? "Somebody without a name" : id);

/** The text of a message, which may be any JSON value or binary data. */
export function describe(message) {
  let text;
  if (typeof message === "string") text = message;
  else if (message instanceof ArrayBuffer) text = `[binary data, ${message.byteLength} bytes]`;
  else text = JSON.stringify(message) ?? "";
  return text.length > maxShown ? `${text.slice(0, maxShown)} … (${text.length - maxShown} more characters)` : text;
}

/**
 * Events: "change" {id} after anything about a conversation changed, "message" {id, message} after one was added,
 * "state" {id, message} after the state of one's own message changed.
 *
 * A message is {key, from, mine, text, at, state, note}. The state of one's own messages is waiting (for the
 * connection), sending, delivered, kept (for one who was away), absent (nobody was there) or failed; note then says why.
 */
export class Conversations extends EventTarget {
  #byID = new Map();
  #keys = 0;
  #owner = null;
  #saving = null;

  /** Starts with what was kept for a user. */
  load(owner) {
    this.#owner = owner;
    this.#byID.clear();
    try {
      const kept = JSON.parse(storage.getItem(`sockeye.history.${owner}`) ?? "[]");
      for (const { id, joined, unread, at, messages } of kept) {
        const conversation = this.open(id);
        Object.assign(conversation, { joined, unread, at });
        for (const message of messages) {
          if (message.state === "sending" || message.state === "waiting") {
            Object.assign(message, { state: "failed", note: "The page was reloaded" });
          }
          conversation.messages.push({ ...message, key: ++this.#keys });
        }
      }
    } catch {
      this.#byID.clear(); // kept by another version of the page
    }
  }

  /** Forgets everything, also what was kept. */
  clear() {
    clearTimeout(this.#saving);
    this.#saving = null;
    storage.removeItem(`sockeye.history.${this.#owner}`);
    this.#byID.clear();
    this.#owner = null;
  }

  get(id) {
    return this.#byID.get(id);
  }

  /** Returns a conversation, a new one if there is none yet. */
  open(id) {
    let conversation = this.#byID.get(id);
    if (!conversation) {
      conversation = { id, messages: [], unread: 0, at: Date.now(), joined: false, draft: "", typing: new Map() };
      this.#byID.set(id, conversation);
      this.#trim();
      this.#changed(id);
    }
    return conversation;
  }

  forget(id) {
    this.#byID.delete(id);
    this.#changed(id);
  }

  /** The latest first. */
  list() {
    return [...this.#byID.values()].sort((a, b) => b.at - a.at);
  }

  /** The rooms to be in. */
  rooms() {
    return this.list().filter((c) => c.joined).map((c) => c.id);
  }

  get unread() {
    return this.list().reduce((sum, c) => sum + c.unread, 0);
  }

  setJoined(id, joined) {
    const conversation = this.open(id);
    if (conversation.joined === joined) return;
    conversation.joined = joined;
    this.#changed(id);
  }

  /** Adds a message that came in; mine if another window of the same user wrote it. */
  receive(id, { from, message, mine = false, unread = false }) {
    const conversation = this.open(id);
    conversation.typing.delete(from);
    if (unread) conversation.unread++;
    return this.#add(conversation, { from, mine, text: describe(message), state: mine ? "delivered" : undefined });
  }

  /** Adds a message that is to be sent. */
  write(id, from, text) {
    return this.#add(this.open(id), { from, mine: true, text, state: "waiting" });
  }

  mark(id, message, state, note) {
    Object.assign(message, { state, note });
    this.dispatchEvent(new CustomEvent("state", { detail: { id, message } }));
    this.#changed(id);
  }

  /** One's own messages that wait for the connection, oldest first. */
  waiting() {
    const found = [];
    for (const { id, messages } of this.#byID.values()) {
      for (const message of messages) if (message.state === "waiting") found.push({ id, message });
    }
    return found.sort((a, b) => a.message.key - b.message.key);
  }

  read(id) {
    const conversation = this.get(id);
    if (!conversation?.unread) return;
    conversation.unread = 0;
    this.#changed(id);
  }

  /** Notes that somebody is typing; it wears off by itself. Only conversations that exist are told. */
  noteTyping(id, from) {
    const conversation = this.get(id);
    if (!conversation || conversation.typing.size >= 20) return;
    conversation.typing.set(from, Date.now() + typingTime);
    setTimeout(() => {
      if (conversation.typing.get(from) <= Date.now()) conversation.typing.delete(from);
      this.#changed(id);
    }, typingTime + 20);
    this.#changed(id);
  }

  #add(conversation, fields) {
    const message = { key: ++this.#keys, at: Date.now(), ...fields };
    conversation.messages.push(message);
    conversation.messages.splice(0, conversation.messages.length - maxMessages);
    conversation.at = message.at;
    this.dispatchEvent(new CustomEvent("message", { detail: { id: conversation.id, message } }));
    this.#changed(conversation.id);
    return message;
  }

  #trim() {
    if (this.#byID.size <= maxConversations) return;
    const oldest = this.list().filter((c) => !c.joined).at(-1);
    if (oldest) this.#byID.delete(oldest.id);
  }

  #changed(id) {
    this.dispatchEvent(new CustomEvent("change", { detail: { id } }));
    this.#saving ??= setTimeout(() => this.#save(), 200);
  }

  #save() {
    this.#saving = null;
    if (this.#owner === null) return;
    const kept = this.list().map(({ id, joined, unread, at, messages }) => ({ id, joined, unread, at, messages: messages.slice(-100) }));
    try {
      storage.setItem(`sockeye.history.${this.#owner}`, JSON.stringify(kept));
    } catch {
      // The storage is full: the visit goes on without it.
    }
  }
}
