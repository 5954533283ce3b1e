/* global io */
const socket = io();
const state = document.getElementById("state");
const login = document.getElementById("login");
const send = document.getElementById("send");
const log = document.getElementById("log");
let user = "";

function show(who, text, note = "") {
  const line = document.createElement("li");
  const name = document.createElement("strong");
  const remark = document.createElement("small");
  name.textContent = who;
  remark.textContent = note;
  line.append(name, " ", text, " ", remark);
  log.append(line);
  return remark;
}

function showState() {
  const transport = socket.io.engine?.transport?.name ?? "no transport";
  const text = socket.connected ? `connected over ${transport}, socket ${socket.id}` : "not connected, trying again…";
  state.textContent = user ? `${user}: ${text}` : text;
}

function enter(name) {
  socket.emit("login", name, (answer) => {
    if (answer?.error) {
      show("server", answer.error.message);
      return;
    }
    user = name;
    login.hidden = true;
    send.hidden = false;
    send.elements.to.focus();
    showState();
  });
}

socket.on("connect", () => {
  socket.io.engine.on("upgrade", showState);
  showState();
  if (user) enter(user);
});
socket.on("disconnect", showState);
socket.on("receive", (message, { from }) => show(from, message));

login.addEventListener("submit", (event) => {
  event.preventDefault();
  enter(login.elements.user.value);
});

send.addEventListener("submit", (event) => {
  event.preventDefault();
  const to = send.elements.to.value;
  const { value: message } = send.elements.message;
  const remark = show(`to ${to}`, message, "sending…");
  socket.emit("send", { to, message }, (answer) => {
    remark.textContent = answer?.error?.message ?? (answer?.online ? "delivered" : "not online");
  });
  send.elements.message.value = "";
});
