// The cluster view in the panel: the nodes, who is on which, what travels between them, and how long the bus takes.
import { $, h, setText, sync } from "./dom.js";
import { inWords } from "./latency.js";

const width = 280; // of the drawing's own units
const height = 170;
const shownFor = 10_000; // ms for which a message is an arrow
const maxPeople = 5; // named for each node
const maxMessages = 5; // in words

/** Creates an element of a drawing. */
function s(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Where the nodes are drawn: on an ellipse, the first one at the top. */
function places(nodes) {
  return new Map(
    nodes.map(({ name }, i) => {
      const angle = (2 * Math.PI * i) / nodes.length - Math.PI / 2;
      const far = nodes.length > 1 ? 1 : 0;
      return [name, { x: width / 2 + far * 100 * Math.cos(angle), y: height / 2 - 6 + far * 55 * Math.sin(angle) }];
    }),
  );
}

/** A line from one node to another, bent, so that both directions can be told apart; a loop for what stays on one. */
function path(from, to) {
  const r = 17;
  if (from === to) return `M${from.x + 10} ${from.y - 13}c14 -16 26 -2 8 9`;
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy);
  const [ux, uy] = [dx / length, dy / length];
  const [mx, my] = [(from.x + to.x) / 2 - uy * 14, (from.y + to.y) / 2 + ux * 14];
  return `M${from.x + ux * r} ${from.y + uy * r}Q${mx} ${my} ${to.x - ux * (r + 4)} ${to.y - uy * (r + 4)}`;
}

const short = (name) => (name.length > 14 ? `${name.slice(0, 13)}…` : name);
const plural = (n, one, many) => `${n.toLocaleString()} ${n === 1 ? one : many}`;

/** Where a message went, in words. */
function tripInWords({ from, to = [], all, age }) {
  let where = "to a room: every node";
  if (!all) where = to.length === 1 && to[0] === from ? "stayed on its node" : `to ${to.join(" and ") || "nobody"}`;
  return `From ${from} ${where}, ${Math.round(age / 1000)} s ago`;
}

/** What is known of a node, in words. */
function nodeInWords({ self, state, users, sockets, trip }) {
  if (state !== "alive") return "not heard";
  const time = self ? "yours" : trip === undefined ? "no answer" : `there and back in ${inWords(trip)}`;
  return `${plural(users, "person", "people")}, ${plural(sockets, "connection", "connections")}, ${time}`;
}

export class ClusterView {
  #session;
  #people;
  #known = "";

  constructor({ session, people }) {
    this.#session = session;
    this.#people = people;
  }

  /** Asks and shows. Without an answer the view stays as it was; the banner tells about the connection. */
  async refresh() {
    if (!this.#session.ready) return;
    try {
      this.#show(await this.#session.cluster());
    } catch {
      // As said above.
    }
  }

  #show({ nodes, trips, incomplete = false }) {
    $("p-cluster").hidden = false;
    this.#draw(nodes, trips.filter(({ age }) => age < shownFor));
    const people = this.#byNode();
    sync(
      $("p-nodes"),
      nodes,
      ({ name }) => name,
      ({ name }) => h("li", { data: { node: name } }, h("bdi", { class: "mono" }, name), h("span", { class: "fine" }), h("bdi", { class: "fine people" })),
      (row, node) => {
        const [, facts, who] = row.children;
        setText(facts, nodeInWords(node));
        setText(who, people.get(node.name)?.join(", ") ?? "");
        who.hidden = who.textContent === "";
      },
    );
    sync($("p-messages"), trips.slice(0, maxMessages), ({ id }) => id, () => h("li", { class: "fine" }), (row, trip) => setText(row, tripInWords(trip)));
    $("p-messages-none").hidden = trips.length > 0;
    $("p-incomplete").hidden = !incomplete;
  }

  /** The names of those whom each node serves, as far as this page knows them. */
  #byNode() {
    const found = new Map();
    for (const [user, nodes] of this.#people.users) {
      for (const node of nodes.split(", ")) {
        const list = found.get(node) ?? [];
        if (list.length < maxPeople) list.push(user);
        else if (list.length === maxPeople) list.push("…");
        found.set(node, list);
      }
    }
    return found;
  }

  #draw(nodes, trips) {
    const now = JSON.stringify([nodes.map(({ name, self, state }) => [name, self, state]), trips.map(({ id }) => id)]);
    if (now === this.#known) return; // arrows move once
    this.#known = now;
    const at = places(nodes);
    const arrows = [];
    for (const { from, to = [], all } of trips) {
      for (const target of all ? at.keys() : to) {
        if (!at.has(from) || !at.has(target) || (all && target === from)) continue;
        arrows.push(s("path", { class: all ? "arrow all" : "arrow", d: path(at.get(from), at.get(target)), "marker-end": "url(#m-arrow)", pathLength: "1" }));
      }
    }
    const circles = nodes.map(({ name, self, state }) => {
      const { x, y } = at.get(name);
      return s("g", { class: ["node", self ? "self" : "", state === "alive" ? "" : "silent"].join(" ") },
        s("circle", { cx: x, cy: y, r: 15 }), s("text", { x, y: y + 29, "text-anchor": "middle" }, short(name)));
    });
    $("p-map").replaceChildren(...arrows, ...circles);
  }
}
