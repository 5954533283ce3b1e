// Which names will do, in the words of somebody who chats. The server checks the same; here it saves the question, and
// gives an answer also without a connection.
import { isRoom } from "./conversations.js";

const maxBytes = 256; // of UTF-8
const shapeOfSocketID = /^[\w-]{20}$/; // a message to such a user would reach a stranger's socket

const tooLong = (name) => new TextEncoder().encode(name).length > maxBytes;
const hasControl = (name) => /\p{Cc}/u.test(name);

/** Why nobody can have this name: a sentence, or "" if it will do. */
export function userProblem(name) {
  if (name === "") return "Please enter a name.";
  if (isRoom(name)) return "A name cannot start with #: that is how rooms are called.";
  if (tooLong(name)) return "This name is too long. Please choose a shorter one.";
  if (shapeOfSocketID.test(name)) return "A name of exactly 20 letters and digits will not do. Please make it longer or shorter.";
  if (hasControl(name)) return "A name cannot contain line breaks or other invisible signs.";
  return "";
}

/** Why no room can be called this: a sentence, or "" if it will do. */
export function roomProblem(name) {
  if (name === "#") return "Write a name after #.";
  if (tooLong(name)) return "The name of this room is too long. Please choose a shorter one.";
  if (hasControl(name)) return "The name of a room cannot contain line breaks or other invisible signs.";
  return "";
}
