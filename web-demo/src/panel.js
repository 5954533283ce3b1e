// The panel on the right: socket id, transport and node of this connection, the cluster, and the members of the open room.
import { $, avatar, h, setText, sync } from "./dom.js";
import { ClusterView } from "./cluster.js";
import { isRoom } from "./conversations.js";
import { inWords } from "./latency.js";

const wide = matchMedia("(min-width: 1080px)"); // below, the panel covers the page
const tripPause = 2000; // ms between two round trips, while the panel is open
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

export const transportNames = { websocket: "WebSocket", polling: "HTTP long-polling", "": "None" };

/** What a failover was: "from node-2 to node-3 in 0.6 s". */
export function changeInWords({ from, to, took }) {
  const time = `${(took / 1000).toFixed(1)} s`;
  return from === to ? `back on ${to} after ${time}` : `from ${from} to ${to} in ${time}`;
}

export class Panel {
  #session;
  #thread;
  #cluster;
  #opener = null;
  #timer = null;

  constructor({ session, thread, people }) {
    this.#session = session;
    this.#thread = thread;
    this.#cluster = new ClusterView({ session, people });
    for (const id of ["connection", "details"]) $(id).addEventListener("click", () => this.toggle($(id)));
    $("panel-close").addEventListener("click", () => this.close());
    $("panel").addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.close();
    });
    // What the panel covers is inert: a press there reaches the shell, and closes the panel.
    $("shell").addEventListener("pointerdown", ({ target }) => {
      if (this.#covers() && !$("panel").contains(target)) this.close();
    });
    $("p-transports").addEventListener("change", ({ target }) => session.connectOver(target.value));
    for (const input of $("p-transports").querySelectorAll("input")) input.checked = input.value === session.way;
    session.addEventListener("status", () => this.#show());
    session.addEventListener("back", ({ detail }) => {
      $("p-change").parentElement.hidden = false;
      setText($("p-change"), `${changeInWords(detail)}, at ${clock.format(new Date())}`);
    });
    session.addEventListener("members", ({ detail: { room } }) => {
      if (room === thread.id) this.showMembers();
    });
    people.addEventListener("change", () => this.showMembers());
    wide.addEventListener("change", () => this.#cover());
  }

  get isOpen() {
    return !$("panel").hidden;
  }

  toggle(opener) {
    if (this.isOpen) {
      this.close();
      return;
    }
    this.#opener = opener;
    $("panel").hidden = false;
    this.#cover();
    this.#show();
    this.showMembers();
    $("h-panel").focus();
    this.#measure();
    this.#timer = setInterval(() => this.#measure(), tripPause);
  }

  close() {
    clearInterval(this.#timer);
    $("panel").hidden = true;
    this.#cover();
    if (this.#opener?.checkVisibility()) this.#opener.focus();
  }

  #covers() {
    return this.isOpen && !wide.matches;
  }

  /** While the panel covers the page, what is below must not take the focus. */
  #cover() {
    const covering = this.#covers();
    $("sidebar").inert = covering;
    $("main").inert = covering;
    for (const id of ["connection", "details"]) $(id).setAttribute("aria-expanded", String(this.isOpen));
  }

  #measure() {
    this.#session.measure().catch(() => {}); // the state says that there is no connection
    this.#cluster.refresh();
  }

  #show() {
    if (!this.isOpen) return;
    const { connected, transport, roundTrip, trips, node, socketID } = this.#session;
    setText($("p-state"), connected ? "Connected" : "Not connected");
    setText($("p-transport"), transportNames[transport]);
    setText($("p-trip"), roundTrip === null ? "–" : inWords(roundTrip));
    $("p-line").querySelector("path").setAttribute("d", trips.path);
    $("p-line").parentElement.hidden = trips.summary === "";
    setText($("p-line-words"), trips.summary);
    setText($("p-node"), node || "–");
    setText($("p-socket"), socketID || "–");
  }

  async showMembers() {
    const room = this.#thread.id;
    const section = $("p-members");
    if (!this.isOpen || room === null || !isRoom(room)) {
      section.hidden = true;
      return;
    }
    try {
      const { users, total } = await this.#session.members(room);
      if (this.#thread.id !== room) return;
      section.hidden = false;
      setText($("p-count"), String(total));
      const me = this.#session.user;
      sync(
        $("p-list"),
        users,
        (user) => user,
        (user) => h("li", {}, avatar(user), h("bdi", { title: user }, user), user === me ? h("span", { class: "fine" }, "you") : ""),
        () => {},
      );
    } catch {
      // Without an answer the list stays as it was; the banner tells about the connection.
    }
  }
}
