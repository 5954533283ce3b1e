// Draws what this window and the others draw. Coordinates are fractions of the board, so that windows may differ in size.
const board = document.getElementById("board");
const color = document.getElementById("color");
const state = document.getElementById("state");
const pen = board.getContext("2d");
const socket = io();

socket.on("connect", () => (state.textContent = "connected"));
socket.on("disconnect", () => (state.textContent = "not connected"));
socket.on("drawing", draw);

function draw({ x0, y0, x1, y1, color }) {
  const { width, height } = board;
  pen.beginPath();
  pen.moveTo(x0 * width, y0 * height);
  pen.lineTo(x1 * width, y1 * height);
  pen.strokeStyle = color;
  pen.lineWidth = 3;
  pen.lineCap = "round";
  pen.stroke();
}

let last = null; // where the pointer was, while it is down
const place = ({ clientX, clientY }) => ({ x: clientX / innerWidth, y: clientY / innerHeight });

board.addEventListener("pointerdown", (event) => {
  board.setPointerCapture(event.pointerId);
  last = place(event);
});
board.addEventListener("pointermove", (event) => {
  if (last === null) return;
  const { x, y } = place(event);
  const stroke = { x0: last.x, y0: last.y, x1: x, y1: y, color: color.value };
  last = { x, y };
  draw(stroke);
  socket.emit("drawing", stroke);
});
for (const end of ["pointerup", "pointercancel"]) board.addEventListener(end, () => (last = null));

function fit() {
  const before = board.width > 0 && board.height > 0 ? pen.getImageData(0, 0, board.width, board.height) : null;
  board.width = innerWidth;
  board.height = innerHeight;
  if (before) pen.putImageData(before, 0, 0);
}
addEventListener("resize", fit);
fit();
