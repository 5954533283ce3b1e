// Puts the page together: login, navigation by the address, banner, announcements.
import { Conversations, isRoom, nameOf, nobody } from "./conversations.js";
import { $, h, setText } from "./dom.js";
import { roomProblem, userProblem } from "./names.js";
import { changeInWords, Panel, transportNames } from "./panel.js";
import { People } from "./people.js";
import { Refused, Session } from "./session.js";
import { Sidebar } from "./sidebar.js";
import { storage } from "./storage.js";
import { Thread } from "./thread.js";
import { way, words } from "./tokens.js";

const userKey = "sockeye.user";
const patience = 600; // ms without a connection before the banner shows

const conversations = new Conversations();
const people = new People();
const session = new Session(conversations, people, new URLSearchParams(location.search).get("transport"));
const thread = new Thread({ session, conversations, people });
const panel = new Panel({ session, thread, people });
const sidebar = new Sidebar({ session, conversations, people, open });

/* Navigation: the address holds the open conversation, so that the back button leads to the list. */

const routeOf = (id) => `#/${encodeURIComponent(id)}`;

function routed() {
  const match = /^#\/(.+)$/.exec(location.hash);
  try {
    return match && decodeURIComponent(match[1]);
  } catch {
    return null;
  }
}

async function open(id) {
  const problem = problemWith(id);
  if (problem) {
    reject(id, problem);
    return;
  }
  if (isRoom(id)) {
    try {
      await session.join(id);
    } catch (error) {
      reject(id, error instanceof Refused ? "The server does not accept the name of this room." : "The room cannot be opened: the server does not answer.");
      return;
    }
  } else conversations.open(id);
  if (routed() === id) show();
  else location.hash = routeOf(id);
}

function problemWith(id) {
  if (id === nobody) return "";
  return isRoom(id) ? roomProblem(id) : userProblem(id);
}

/** Says why a conversation cannot be opened, and takes it out of the address, where a reload would find it again. */
function reject(id, why) {
  notify(why);
  if (routed() !== id) return;
  history.replaceState(null, "", location.pathname + location.search);
  show();
}

function show() {
  const id = session.user === null ? null : routed();
  const problem = id === null ? "" : problemWith(id);
  if (problem) {
    reject(id, problem);
    return;
  }
  if (id !== null && isRoom(id) && !conversations.get(id)?.joined) {
    open(id); // by a link; shows when it has joined
    return;
  }
  document.body.dataset.view = id === null ? "list" : "thread";
  $("skip").hidden = id === null;
  thread.show(id);
  sidebar.setCurrent(id);
  // A second user gets to the same room, or to this one. A tab without an opener does not inherit who is logged in here.
  $("second").href = location.pathname + location.search + routeOf(id !== null && isRoom(id) ? id : (session.user ?? ""));
  panel.showMembers();
  if (id === null) {
    if (matchMedia("(pointer: fine)").matches) sidebar.focusFind();
    return;
  }
  seen();
  // On a phone the keyboard would cover what is to be read.
  if (matchMedia("(pointer: fine)").matches) thread.focusText();
}

window.addEventListener("hashchange", show);
// Followed as a link it would replace the conversation in the address.
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  thread.focusText();
});
$("back").addEventListener("click", () => (location.hash = ""));
$("empty-lobby").addEventListener("click", () => open("#lobby"));
$("leave").addEventListener("click", async () => {
  const room = thread.id;
  try {
    await session.leave(room);
    location.hash = "";
  } catch {
    notify("You are still in the room: the server does not answer.");
  }
});

/* Unread counts. */

const isSeen = (id) => id === thread.id && document.visibilityState === "visible";

function seen() {
  if (thread.id !== null && document.visibilityState === "visible") conversations.read(thread.id);
}
document.addEventListener("visibilitychange", seen);
window.addEventListener("focus", seen);

conversations.addEventListener("message", ({ detail: { id, message } }) => {
  if (message.mine) return;
  const where = isRoom(id) ? ` in ${id}` : "";
  if (isSeen(id)) {
    conversations.read(id);
    announce(`${nameOf(message.from)}: ${message.text.slice(0, 200)}`);
  } else announce(`New message from ${nameOf(message.from)}${where}`);
});
conversations.addEventListener("state", ({ detail: { message } }) => {
  if (message.state === "failed") announce("A message was not sent");
  if (message.state === "absent") announce("Not online");
});
conversations.addEventListener("change", () => {
  const { unread } = conversations;
  document.title = unread ? `(${unread}) Sockeye` : "Sockeye";
  const elsewhere = unread - (conversations.get(thread.id)?.unread ?? 0);
  $("back-unread").hidden = elsewhere === 0;
  setText($("back-unread"), String(elsewhere));
});

/** Tells users of screen readers, who do not see lists change. */
function announce(text) {
  $("announcer").textContent = "";
  setTimeout(() => ($("announcer").textContent = text), 30);
}

/* The state of the connection. */

let bannerTimer = null;
let noticeTimer = null;

function showStatus() {
  const { connected, transport, node, since, user } = session;
  $("connection").classList.toggle("up", connected);
  $("shell").classList.toggle("away", !connected);
  const label = { websocket: "WebSocket", polling: "Long-polling" }[transport] ?? "";
  setText($("connection-text"), connected ? [label, node].filter(Boolean).join(" · ") : "Not connected");
  setText($("login-state"), connected ? `Connected over ${transportNames[transport]}` : way !== "none" && user === null ? "" : since ? "The server does not answer yet" : "Connecting…");
  clearTimeout(bannerTimer);
  bannerTimer = null;
  if (since === null) {
    if ($("banner").dataset.kind === "lost") {
      banner("back", user === null ? "Connected." : "Connected again.");
      noticeTimer = setTimeout(() => banner(null), 2000);
    }
    return;
  }
  const wait = since + patience - Date.now();
  if (wait > 0) bannerTimer = setTimeout(showStatus, wait);
  else if (way !== "none" && user === null) return; // there is nothing to be connected for
  else if ($("banner").dataset.kind !== "notice") banner("lost", user === null ? "The server cannot be reached. Trying again…" : "Connection lost. Trying again… What you write now is sent afterwards.");
}

/** Shows one line above everything: lost, back or notice; null hides it. */
function banner(kind, text = "") {
  clearTimeout(noticeTimer);
  $("banner").hidden = kind === null;
  $("banner").dataset.kind = kind ?? "";
  setText($("banner-text"), text);
  $("banner-retry").hidden = kind !== "lost";
}

function notify(text) {
  banner("notice", text);
  noticeTimer = setTimeout(() => {
    banner(null);
    showStatus(); // the connection may still be lost
  }, 5000);
}

session.addEventListener("status", showStatus);
session.addEventListener("back", ({ detail }) => {
  const { kind } = $("banner").dataset;
  // A stumble on one node that was over before anybody saw it is not worth a line; a failover is.
  if (kind === "notice" || (detail.from === detail.to && kind === "")) return;
  const words = changeInWords(detail);
  banner("back", `${words[0].toUpperCase()}${words.slice(1)}.`);
  noticeTimer = setTimeout(() => banner(null), 5000);
});
$("banner-retry").addEventListener("click", () => session.reconnect());

/* Login. */

async function login(user) {
  const button = $("login").querySelector("button");
  setText($("login-error"), "");
  $("login-name").removeAttribute("aria-invalid");
  const problem = way === "jwt" ? "" : userProblem(user);
  if (problem) {
    refuse(problem);
    return;
  }
  button.disabled = true;
  try {
    await session.login(user);
  } catch (error) {
    if (session.user === null) refuse(error instanceof Refused ? (way === "jwt" ? `The server does not accept this token: ${error.message}.` : "The server does not accept this name.") : "The server does not answer. Please try again.");
  } finally {
    button.disabled = false;
  }
}

function refuse(text) {
  $("welcome").hidden = false;
  setText($("login-error"), text);
  $("login-name").setAttribute("aria-invalid", "true");
  $("login-name").focus();
}

session.addEventListener("login", () => {
  if (way !== "jwt") storage.setItem(userKey, session.user); // a token is not left lying about
  $("me").replaceChildren(h("span", { title: `You are ${session.user}` }, session.user));
  $("welcome").hidden = true;
  $("shell").hidden = false;
  sidebar.render();
  show();
});

$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  login($("login-name").value.trim());
});
$("logout").addEventListener("click", () => {
  storage.removeItem(userKey);
  session.logout();
});

/* Keys that work everywhere. */

document.addEventListener("keydown", (event) => {
  if (session.user === null) return;
  if (event.key === "k" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    if (document.body.dataset.view === "thread" && !$("sidebar").checkVisibility()) location.hash = "";
    sidebar.focusFind();
  } else if (event.key === "Escape" && !event.isComposing) {
    if (panel.isOpen) panel.close();
    else if (thread.id !== null) location.hash = "";
  }
});

setText($("login-label"), words.label);
setText($("login-lead"), words.lead);
if (way === "jwt") $("login-name").maxLength = 8192;
setText($("empty-text"), "Choose somebody on the left, or a public room. To try it alone, open a second user in a new tab.");
document.body.dataset.view = "list";
showStatus();
const before = way === "jwt" ? null : storage.getItem(userKey);
if (before) {
  $("login-name").value = before;
  login(before);
} else {
  $("welcome").hidden = false;
  $("login-name").focus();
}
