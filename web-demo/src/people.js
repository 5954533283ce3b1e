// Who is online and which public rooms there are, as far as the server has told. Lists are cut, totals are not.

const maxKept = 1000; // names; the server tells at most 200 at once, and changes add to them

/** Who is not in the lists, in words. */
function leftOut(missing = [], incomplete = false) {
  const parts = [];
  if (missing.length > 0) parts.push(`Without the people of ${missing.join(", ")}: no answer.`);
  if (incomplete) parts.push("There may be people on nodes of other programs, who are not shown, but reached.");
  return parts.join(" ");
}

export class People extends EventTarget {
  users = new Map(); // name -> names of the nodes that serve them, as one text; "" if they tell none
  rooms = new Map(); // name -> number of members
  total = 0;
  alone = false; // the node has lost the other ones, and tells of its own users only
  left = ""; // who is not in the lists, in words

  /** Takes the answer to "watch". */
  replace({ users, rooms, total, alone, missing, incomplete }) {
    this.users = new Map(users.map(({ user, nodes }) => [user, nodes.join(", ")]));
    this.rooms = new Map(rooms.map(({ room, members }) => [room, members]));
    this.total = total;
    this.alone = alone;
    this.left = leftOut(missing, incomplete);
    this.dispatchEvent(new Event("change"));
  }

  /** Takes a "presence" event. */
  apply({ online = [], offline = [], rooms = [], total, alone, missing, incomplete }) {
    for (const user of offline) this.users.delete(user);
    for (const { user, nodes } of online) if (this.users.has(user) || this.users.size < maxKept) this.users.set(user, nodes.join(", "));
    for (const { room, members } of rooms) {
      if (members === 0) this.rooms.delete(room);
      else if (this.rooms.has(room) || this.rooms.size < maxKept) this.rooms.set(room, members);
    }
    this.total = total;
    this.alone = alone;
    this.left = leftOut(missing, incomplete);
    this.dispatchEvent(new Event("change"));
  }

  /** Takes what the answer to a message told about a room: nobody else is in it. */
  noteAlone(room) {
    if (this.rooms.has(room)) this.rooms.set(room, 1);
    this.dispatchEvent(new Event("change"));
  }

  /** Takes what the answer to a message told about a user. */
  note(user, online) {
    if (this.users.has(user) === online) return;
    if (online) this.users.set(user, "");
    else this.users.delete(user);
    this.dispatchEvent(new Event("change"));
  }
}
