// What the page does with the DOM. Text always goes through textContent: nothing a user wrote is ever parsed as markup.

/** Finds an element by its id. */
export const $ = (id) => document.getElementById(id);

/** Creates an element: h("li", { class: "x", onclick: f, ariaCurrent: "true" }, child, "text"). */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "class") node.className = value;
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** An icon of the page's sprite. It is decoration: whoever uses it gives the words. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** What a reader takes for the first letter: an emoji of several code points counts as one. */
function initial(name) {
  const [first] = graphemes.segment(name.replace(/^#/, "").trim());
  return first && first.segment > " " ? first.segment.toLocaleUpperCase() : "?";
}

/** A round sign for a user, or a square one for a room; its colour follows from the name. */
export function avatar(name) {
  let hash = 0;
  for (const c of name) hash = (hash * 31 + c.codePointAt(0)) >>> 0;
  const room = name.startsWith("#");
  const node = h("span", { class: room ? "avatar room" : "avatar", data: { hue: String(hash % 8) } }, room ? "#" : initial(name));
  node.setAttribute("aria-hidden", "true");
  return node;
}

/** Sets text only when it differs, so that live regions and selections stay undisturbed. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Makes the children of list show items, keeping elements by key, so that focus and scroll position survive.
 * create(item) returns a new element, update(element, item) brings it up to date.
 */
export function sync(list, items, key, create, update) {
  const old = new Map([...list.children].map((node) => [node.dataset.key, node]));
  let before = list.firstChild;
  for (const item of items) {
    const k = key(item);
    let node = old.get(k);
    old.delete(k);
    if (!node) {
      node = create(item);
      node.dataset.key = k;
    }
    update(node, item);
    if (node === before) before = before.nextSibling;
    else list.insertBefore(node, before);
  }
  for (const node of old.values()) node.remove();
}

/** Runs f once before the next frame, however often it is asked for until then; also while the page is hidden. */
export function coalesce(f) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    const run = () => {
      if (!waiting) return;
      waiting = false;
      f();
    };
    if (document.hidden) setTimeout(run);
    else requestAnimationFrame(run);
  };
}
