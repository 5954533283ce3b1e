// A text field bound to a document of Yjs, which y-socket.io keeps in step with the others'.
import { SocketIOProvider } from "y-socket.io";
import * as Y from "yjs";

const $ = (id) => document.getElementById(id);
const doc = new Y.Doc();
const shared = doc.getText("text");
// The windows of one browser would find each other without the server.
const provider = new SocketIOProvider(location.origin, location.hash.slice(1) || "page", doc, { disableBc: true });

provider.on("status", ({ status }) => ($("state").textContent = status));
provider.on("sync", (synced) => {
  if (synced) $("text").disabled = false;
});

/** What turns one string into another: at some index so many characters go and others come. */
function difference(before, after) {
  let start = 0;
  while (start < before.length && before[start] === after[start]) start++;
  let end = 0;
  while (end < Math.min(before.length, after.length) - start && before.at(-1 - end) === after.at(-1 - end)) end++;
  return { index: start, remove: before.length - start - end, insert: after.slice(start, after.length - end) };
}

$("text").addEventListener("input", () => {
  const { index, remove, insert } = difference(shared.toString(), $("text").value);
  doc.transact(() => {
    shared.delete(index, remove);
    shared.insert(index, insert);
  }, "field");
});

// What others write in front of the cursor moves it.
shared.observe(({ delta }, { origin }) => {
  if (origin === "field") return;
  const field = $("text");
  let [start, end] = [field.selectionStart, field.selectionEnd];
  let at = 0;
  for (const { retain = 0, insert = "", delete: gone = 0 } of delta) {
    at += retain;
    const moved = (position) => (position <= at ? position : Math.max(at, position - gone) + insert.length);
    [start, end] = [moved(start), moved(end)];
    at += insert.length;
  }
  field.value = shared.toString();
  field.setSelectionRange(start, end);
});

$("name").addEventListener("input", () => provider.awareness.setLocalStateField("user", $("name").value));
provider.awareness.on("change", () => {
  const others = [...provider.awareness.getStates()].filter(([id]) => id !== doc.clientID);
  $("people").replaceChildren(...others.map(([, { user }]) => {
    const item = document.createElement("li");
    item.textContent = user || "somebody";
    return item;
  }));
});
