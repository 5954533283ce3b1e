// Users and the messages with them. The session is kept for the tab, so that a reload comes back as the same user.
const $ = (id) => document.getElementById(id);
const key = "session";
const socket = io({ autoConnect: false });
const users = new Map(); // by userID: {userID, username, connected, messages, unread}
let self = null;
let chosen = null;

socket.on("session", ({ sessionID, userID }) => {
  sessionStorage.setItem(key, sessionID);
  socket.auth = { sessionID };
  self = userID;
  $("login").hidden = true;
  $("chat").hidden = false;
});
socket.on("connect_error", ({ message }) => {
  if (socket.active) return; // the client tries again by itself
  sessionStorage.removeItem(key);
  $("login").hidden = false;
  $("problem").textContent = socket.auth.sessionID ? "" : message;
});
socket.on("users", (list) => {
  users.clear();
  for (const user of list) users.set(user.userID, user);
  show();
});
socket.on("user connected", (user) => {
  const known = users.get(user.userID);
  if (known) known.connected = true;
  else users.set(user.userID, user);
  show();
});
socket.on("user disconnected", (userID) => {
  if (users.has(userID)) users.get(userID).connected = false;
  show();
});
socket.on("private message", (message) => {
  const other = users.get(message.from === self ? message.to : message.from);
  if (!other) return;
  other.messages.push(message);
  other.unread = other.userID !== chosen;
  show();
});

function show() {
  $("users").replaceChildren(...[...users.values()].map((user) => {
    const button = document.createElement("button");
    button.textContent = user.username + (user.userID === self ? " (you)" : user.connected ? "" : " (away)");
    button.className = [user.connected ? "" : "away", user.unread ? "new" : ""].join(" ");
    if (user.userID === chosen) button.setAttribute("aria-current", "true");
    button.onclick = () => choose(user.userID);
    return button;
  }));
  const other = users.get(chosen);
  if (!other) return;
  $("with").textContent = other.username;
  $("messages").replaceChildren(...other.messages.map(({ content, from }) => {
    const item = document.createElement("li");
    item.textContent = content;
    item.className = from === self ? "mine" : "";
    return item;
  }));
}

function choose(userID) {
  chosen = userID;
  users.get(userID).unread = false;
  $("write").hidden = false;
  show();
  $("content").focus();
}

$("write").addEventListener("submit", (event) => {
  event.preventDefault();
  const message = { content: $("content").value, to: chosen };
  $("content").value = "";
  socket.emit("private message", message);
  users.get(chosen).messages.push({ ...message, from: self });
  show();
});

function enter(auth) {
  socket.auth = auth;
  socket.connect();
}
$("login").addEventListener("submit", (event) => {
  event.preventDefault();
  enter({ username: $("username").value });
});
const sessionID = sessionStorage.getItem(key);
if (sessionID) enter({ sessionID });
else $("login").hidden = false;
