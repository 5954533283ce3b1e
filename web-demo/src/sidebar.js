// The lists on the left: conversations, public rooms, people online, and the field that finds or starts one.
import { $, avatar, coalesce, h, setText, sync } from "./dom.js";
import { isRoom, nameOf } from "./conversations.js";
import { roomProblem } from "./names.js";

const lobby = "#lobby"; // always offered, so that a first visitor finds somewhere to go
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

export class Sidebar {
  #session;
  #conversations;
  #people;
  #open; // shows a conversation
  #current = null;

  constructor({ session, conversations, people, open }) {
    this.#session = session;
    this.#conversations = conversations;
    this.#people = people;
    this.#open = open;
    const render = coalesce(() => this.#render());
    this.render = render;
    conversations.addEventListener("change", render);
    people.addEventListener("change", render);
    session.addEventListener("status", render);
    $("find-text").addEventListener("input", () => {
      setText($("find-hint"), "");
      render();
    });
    $("find").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start($("find-text").value.trim());
    });
    $("find").addEventListener("keydown", (event) => {
      if (event.key === "Escape" && $("find-text").value) {
        $("find-text").value = "";
        setText($("find-hint"), "");
        event.stopPropagation();
        render();
      }
    });
    $("sidebar").addEventListener("keydown", (event) => this.#move(event));
  }

  setCurrent(id) {
    this.#current = id;
    this.render();
  }

  focusFind() {
    $("find-text").focus();
    $("find-text").select();
  }

  #start(id) {
    if (!id) return;
    if (id === "#") {
      setText($("find-hint"), roomProblem(id));
      return;
    }
    $("find-text").value = "";
    setText($("find-hint"), "");
    this.#open(id);
  }

  #rows() {
    return [...$("lists").querySelectorAll("button.item")];
  }

  /** Arrow keys walk through the field and the rows, as in a list of one piece. */
  #move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    this.#render(); // what has just been typed may take rows away
    const stops = [$("find-text"), ...this.#rows()];
    const at = stops.indexOf(document.activeElement);
    const next = stops[at + step];
    if (at < 0 || !next) return;
    event.preventDefault();
    next.focus();
  }

  /** Brings the lists up to date. The focus stays with its row, or goes to the row in the place of one that went. */
  #render() {
    const rows = this.#rows();
    const at = rows.indexOf(document.activeElement);
    this.#renderLists();
    if (at < 0 || rows[at] === document.activeElement) return;
    const now = this.#rows();
    const same = now.find((row) => row.dataset.id === rows[at].dataset.id);
    (same ?? now[Math.min(at, now.length - 1)] ?? $("find-text")).focus({ preventScroll: true });
  }

  #renderLists() {
    const wanted = $("find-text").value.trim();
    const matches = (id) => id.toLocaleLowerCase().includes(wanted.toLocaleLowerCase());
    const open = this.#conversations.list().filter(({ id }) => matches(id));
    const isOpen = new Set(open.map(({ id }) => id));

    const rooms = new Map([[lobby, 0], ...this.#people.rooms]);
    const otherRooms = [...rooms].filter(([id]) => !isOpen.has(id) && matches(id)).sort(([a, m], [b, n]) => n - m || a.localeCompare(b));
    const others = [...this.#people.users.keys()].filter((id) => id !== this.#session.user);
    // Everybody who is online; while one searches, nobody twice.
    const people = others.filter((id) => matches(id) && !(wanted && isOpen.has(id))).sort((a, b) => a.localeCompare(b));

    const exact = isOpen.has(wanted) || rooms.has(wanted) || this.#people.users.has(wanted);
    const start = wanted && wanted !== "#" && !exact ? [wanted] : [];
    this.#list("list-start", start, (id) => id, (id) => ({
      id,
      title: isRoom(id) ? "Open the room" : "Write to",
      line: id,
    }));
    this.#list("list-open", open, ({ id }) => id, (conversation) => this.#row(conversation));
    this.#list("list-rooms", otherRooms, ([id]) => id, ([id, members]) => ({ id, line: members === 1 ? "1 person" : members ? `${members} people` : "Nobody yet" }));
    this.#list("list-people", people, (id) => id, (id) => ({ id, online: true, line: this.#people.users.get(id), current: id === this.#current && !isOpen.has(id) }));

    const total = Math.max(this.#people.total - (this.#people.users.has(this.#session.user) ? 1 : 0), others.length);
    setText($("online-count"), String(total));
    $("list-people").hidden = Boolean(wanted) && people.length === 0;
    const hidden = total - others.length;
    let note = "";
    if (hidden > 0) note = `and ${hidden.toLocaleString()} more: type a name to write to anybody.`;
    else if (total === 0 && !this.#people.alone) note = "Nobody else is here yet.";
    if (!this.#people.alone) note = [note, this.#people.left].filter(Boolean).join(" ");
    setText($("people-note"), note);
    $("people-note").hidden = note === "";
    $("people-alone").hidden = !this.#people.alone;
  }

  #row({ id, messages, unread, at }) {
    const last = messages.at(-1);
    return {
      id,
      unread,
      online: !isRoom(id) && this.#people.users.has(id),
      at: last ? at : null,
      author: last?.mine ? "You" : isRoom(id) && last ? nameOf(last.from) : undefined,
      line: last ? last.text.slice(0, 120) : isRoom(id) ? "No messages yet" : "Say hello",
    };
  }

  #list(section, items, key, describe) {
    $(section).hidden = items.length === 0;
    sync($(section).querySelector("ul"), items, key, () => this.#create(), (node, item) => this.#update(node, describe(item)));
  }

  #create() {
    const button = h(
      "button",
      { type: "button", class: "item" },
      h("span", { class: "face" }),
      h("span", { class: "who" }, h("bdi", { class: "name" }), h("span", { class: "unseen presence" })),
      h("time", { class: "when" }),
      h("span", { class: "line", dir: "auto" }),
      h("span", { class: "badge" }),
    );
    button.addEventListener("click", () => this.#start(button.dataset.id));
    return h("li", {}, button);
  }

  #update(node, { id, title, line = "", unread = 0, online = false, at = null, author, current = id === this.#current }) {
    const button = node.firstChild;
    const part = (name) => button.querySelector(`.${name}`);
    if (button.dataset.id !== id) {
      button.dataset.id = id;
      part("face").replaceChildren(avatar(id));
      button.title = nameOf(id);
    }
    setText(part("name"), title ?? nameOf(id));
    setText(part("presence"), online ? ", online" : "");
    button.classList.toggle("online", online);
    button.classList.toggle("unread", unread > 0);
    if (current) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    // The isolates keep a name of one direction from turning a text of the other around.
    setText(part("line"), author ? `\u2068${author}\u2069: ${line}` : line);
    part("line").hidden = line === "";
    setText(part("when"), at === null ? "" : clock.format(at));
    const badge = part("badge");
    badge.hidden = unread === 0;
    setText(badge, unread > 99 ? "99+" : String(unread));
    badge.setAttribute("aria-label", unread === 1 ? ", 1 new message" : `, ${unread} new messages`);
    badge.setAttribute("role", "img");
  }
}
