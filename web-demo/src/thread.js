// The open conversation: messages, typing line, composer.
import { $, avatar, h, icon, setText } from "./dom.js";
import { isRoom, nameOf, nobody } from "./conversations.js";
import { linked } from "./links.js";

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const sameBreath = 5 * 60_000; // ms within which messages of one author stand together
const stuckTo = 60; // px from the end at which the list still follows new messages
const onlyEmoji = /^(?:\p{Extended_Pictographic}(?:\p{Emoji_Modifier}|\uFE0F|\u200D\p{Extended_Pictographic})*|\p{Regional_Indicator}{2}|\s){1,12}$/u;

const states = {
  waiting: { icon: "clock", text: "Waiting for the connection", shown: true },
  sending: { icon: "clock", text: "Sending" },
  delivered: { icon: "ticks", text: "Delivered" },
  kept: { icon: "tick", text: "Away; it arrives when they are back", shown: true },
  absent: { icon: "tick", text: "Not online", shown: true },
  failed: { icon: "alert", text: "Not sent", shown: true },
};

export class Thread {
  #session;
  #conversations;
  #people;
  #id = null;

  constructor({ session, conversations, people }) {
    this.#session = session;
    this.#conversations = conversations;
    this.#people = people;
    conversations.addEventListener("message", ({ detail: { id, message } }) => {
      if (id === this.#id) this.#append(message);
    });
    conversations.addEventListener("state", ({ detail: { id, message } }) => {
      if (id === this.#id) this.#showState(message);
    });
    conversations.addEventListener("change", ({ detail: { id } }) => {
      if (id === this.#id) this.#showTyping();
    });
    people.addEventListener("change", () => this.#showHead());
    session.addEventListener("status", () => this.#showHead());
    this.#listen();
  }

  #listen() {
    const text = $("text");
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    text.addEventListener("keydown", (event) => {
      // Enter ends a choice of an input method first; on a touch keyboard it is a new line.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      if (matchMedia("(pointer: coarse)").matches) return;
      event.preventDefault();
      this.#send();
    });
    text.addEventListener("input", () => {
      this.#fit();
      const conversation = this.#conversations.get(this.#id);
      if (conversation) conversation.draft = text.value;
      if (text.value.trim()) this.#session.type(this.#id);
    });
    $("scroll").addEventListener("scroll", () => {
      if (this.#atEnd()) $("newer").hidden = true;
    });
    $("newer").addEventListener("click", () => {
      this.#toEnd();
      text.focus();
    });
    new ResizeObserver(() => {
      if (this.#follows) this.#toEnd();
    }).observe($("scroll"));
    $("scroll").addEventListener("scroll", () => (this.#follows = this.#atEnd()));
  }

  #follows = true;

  get id() {
    return this.#id;
  }

  /** Shows a conversation, or none. */
  show(id) {
    this.#id = id;
    $("thread").hidden = id === null;
    $("empty").hidden = id !== null;
    $("messages").replaceChildren();
    if (id === null) return;
    const conversation = this.#conversations.open(id);
    $("thread-name").replaceChildren(h("bdi", { title: nameOf(id) }, nameOf(id)));
    $("thread-avatar").replaceChildren(avatar(id));
    $("leave").hidden = !isRoom(id);
    $("composer").hidden = id === nobody;
    $("text").value = conversation.draft;
    $("text").placeholder = isRoom(id) ? "Write to the room" : "Write a message";
    this.#fit();
    for (const message of conversation.messages) this.#place(message);
    this.#showHead();
    this.#showTyping();
    this.#toEnd();
  }

  focusText() {
    if ($("composer").hidden) $("scroll").focus();
    else $("text").focus();
  }

  #send() {
    const text = $("text").value.trim();
    if (!text || this.#id === null) return;
    $("text").value = "";
    this.#conversations.get(this.#id).draft = "";
    this.#fit();
    this.#follows = true;
    this.#session.send(this.#id, text);
    this.focusText();
  }

  /** Grows the field with its text; the style sheet sets the largest height. */
  #fit() {
    const text = $("text");
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + 2}px`;
  }

  #showHead() {
    const id = this.#id;
    if (id === null) return;
    let line;
    if (isRoom(id)) {
      const members = this.#people.rooms.get(id) ?? 0;
      line = members === 1 ? "1 person" : `${members} people`;
    } else if (id === this.#session.user) line = "Notes to yourself";
    else if (id === nobody) line = "Cannot be answered";
    else line = this.#people.users.has(id) ? "Online" : "Not online";
    // What was known about others is of the time before the connection was lost.
    if (!this.#session.connected) line = "Not connected";
    setText($("thread-state"), line);
    const node = line === "Online" ? this.#people.users.get(id) : "";
    setText($("thread-node"), node ? ` · ${node}` : "");
    $("thread-state").classList.toggle("online", line === "Online");
  }

  #showTyping() {
    const names = [...(this.#conversations.get(this.#id)?.typing.keys() ?? [])];
    const line = $("typing");
    line.classList.toggle("on", names.length > 0);
    if (names.length === 0) line.replaceChildren();
    else if (names.length > 2) line.replaceChildren("Several people are typing");
    else {
      const parts = names.flatMap((name) => [" and ", h("bdi", {}, name)]).slice(1);
      line.replaceChildren(...parts, names.length === 1 ? " is typing" : " are typing");
    }
  }

  #append(message) {
    const follow = this.#follows || message.mine;
    this.#place(message);
    const list = $("messages");
    const kept = this.#conversations.get(this.#id).messages.length;
    while (list.children.length > kept) list.firstChild.remove();
    if (follow) this.#toEnd();
    else $("newer").hidden = false;
  }

  #place(message) {
    const list = $("messages");
    const before = list.lastElementChild;
    const joined = before && before.dataset.from === message.from && message.at - Number(before.dataset.at) < sameBreath;
    const node = h("li", { class: message.mine ? "message mine" : "message", data: { key: String(message.key), from: message.from, at: String(message.at) } });
    node.classList.toggle("joined", Boolean(joined));
    if (!message.mine) node.append(avatar(message.from));
    const body = h("div", { class: "body" });
    const author = h("span", { class: "author" }, h("bdi", {}, message.mine ? "You" : nameOf(message.from)));
    if (message.mine || !isRoom(this.#id) || joined) author.classList.add("unseen");
    const text = h("p", { class: "text", dir: "auto" }, ...linked(message.text));
    if (onlyEmoji.test(message.text)) text.classList.add("emoji");
    const time = h("time", { dateTime: new Date(message.at).toISOString(), title: new Date(message.at).toLocaleString() }, clock.format(message.at));
    const foot = h("p", { class: "foot" }, time);
    if (message.mine) foot.append(h("span", { class: "state" }));
    body.append(author, h("div", { class: "line" }, text, foot));
    node.append(body);
    list.append(node);
    if (message.mine) this.#showState(message);
  }

  #showState(message) {
    const node = $("messages").querySelector(`[data-key="${message.key}"]`);
    if (!node) return;
    const { icon: sign, text, shown } = states[message.state];
    node.dataset.state = message.state;
    let words = text;
    if (message.state === "absent" && isRoom(this.#id)) words = "Nobody else is here";
    if (message.state === "failed" && message.note) words = `${text}: ${message.note}`;
    const state = node.querySelector(".state");
    state.title = words;
    state.replaceChildren(icon(sign), h("span", { class: shown ? "" : "unseen" }, words));
    if (message.state === "failed" || message.state === "absent") {
      const again = h("button", { type: "button", class: "link" }, "Send again");
      again.addEventListener("click", () => {
        this.#session.resend(this.#id, message);
        this.focusText();
      });
      state.append(again);
    }
    if (this.#follows) this.#toEnd();
  }

  #atEnd() {
    const box = $("scroll");
    return box.scrollHeight - box.scrollTop - box.clientHeight < stuckTo;
  }

  #toEnd() {
    $("scroll").scrollTop = $("scroll").scrollHeight;
    $("newer").hidden = true;
    this.#follows = true;
  }
}
