// Who is online and which public rooms there are, as far as the server has told. Lists are cut, totals are not.

const maxKept = 1000; // names; the server tells at most 200 at once, and changes add to them

export class People extends EventTarget {
  users = new Set();
  rooms = new Map(); // name -> number of members
  total = 0;

  /** Takes the answer to "watch". */
  replace({ users, rooms, total }) {
    this.users = new Set(users);
    this.rooms = new Map(rooms.map(({ room, members }) => [room, members]));
    this.total = total;
    this.dispatchEvent(new Event("change"));
  }

  /** Takes a "presence" event. */
  apply({ online = [], offline = [], rooms = [], total }) {
    for (const user of offline) this.users.delete(user);
    for (const user of online) if (this.users.size < maxKept) this.users.add(user);
    for (const { room, members } of rooms) {
      if (members === 0) this.rooms.delete(room);
      else if (this.rooms.has(room) || this.rooms.size < maxKept) this.rooms.set(room, members);
    }
    this.total = total;
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
    if (online) this.users.add(user);
    else this.users.delete(user);
    this.dispatchEvent(new Event("change"));
  }
}
