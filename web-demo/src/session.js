// One user at the server: the socket, the login, and everything that is sent or received.
import { io } from "socket.io-client";
import { isRoom, nobody } from "./conversations.js";
import { Trips } from "./latency.js";
import { Token, Unacceptable, way as loginWay } from "./tokens.js";

const answerTime = 8000; // ms to wait for an acknowledgement
const typingPause = 2500; // ms between two typing events for one conversation
const returnTime = 60_000; // ms in which others may come back after a connection was lost, to get what waited for them
const watchPause = 60_000; // ms after which the list of people is fetched again, about

/** An answer of the server that says no. */
export class Refused extends Error {}

const transports = { auto: ["polling", "websocket"], websocket: ["websocket"], polling: ["polling"] };

/**
 * Events: "status" after the state of the connection or of the login changed, "login" once a user is in,
 * "members" {room} when the members of a room may have changed, "back" {from, to, took} when the user is in again after the
 * connection was lost: the names of the nodes, and ms.
 */
export class Session extends EventTarget {
  user = null; // who is logged in or will be, as soon as there is a connection
  ready = false; // logged in on the present connection
  since = null; // when the connection was lost, or null
  node = "";
  roundTrip = null; // ms
  trips = new Trips();
  way = "auto";
  #socket;
  #token = null; // of whoever logs in, if the server asks for one
  #conversations;
  #people;
  #echoes = 0; // messages to oneself that will come back
  #typed = new Map();
  #held = new Map(); // message -> {id, until}: waited for the connection, and was back before its addressee
  #watching = null;
  #left = null; // {from, at, took}: the node that was lost, when, and how long it took until the user was in again

  constructor(conversations, people, way) {
    super();
    this.#conversations = conversations;
    this.#people = people;
    this.way = way in transports ? way : "auto";
    // The server writes its path into the page, with a slash at the end if it wants one.
    const path = document.querySelector('meta[name="socket-path"]').content;
    this.#socket = io({
      path,
      addTrailingSlash: path.endsWith("/"),
      transports: transports[this.way],
      autoConnect: loginWay === "none",
      // Each attempt has a token that is not about to expire.
      auth: (give) => this.#withToken(give),
      reconnectionDelay: 400,
      reconnectionDelayMax: 3000,
      timeout: answerTime,
      // This page asks for its acknowledgements itself; nothing may be buffered behind its back.
      retries: 0,
    });
    this.#listen();
  }

  get connected() {
    return this.#socket.connected;
  }
  get socketID() {
    return this.#socket.id ?? "";
  }
  /** "websocket" or "polling", "" without a connection. */
  get transport() {
    return this.connected ? (this.#socket.io.engine?.transport?.name ?? "") : "";
  }

  #listen() {
    const socket = this.#socket;
    socket.on("connect", () => {
      this.since = null;
      socket.io.engine.once("upgrade", () => this.#told());
      this.#told();
      this.#enter().catch(() => {
        // A node that does not answer is left for another; without a connection the next one tries again.
        if (this.user !== null) setTimeout(() => this.connected && !this.ready && this.reconnect(), 2000);
      });
    });
    socket.on("disconnect", (reason) => {
      // Whoever asks for another transport may come to another node, but has lost none.
      if (reason !== "io client disconnect" && this.ready && this.node) this.#left ??= { from: this.node, at: performance.now() };
      this.#lost();
      // The client does not come back by itself when it was sent away.
      if (reason === "io server disconnect") setTimeout(() => socket.connect(), 2000);
    });
    socket.io.on("error", () => this.#lost());
    socket.on("connect_error", (error) => {
      this.#lost();
      // A connection that failed is tried again by the client, a refusal is not: a new token may help, or time.
      if (this.user === null || !error.data?.code) return;
      if (loginWay === "demo" || error.data.code === "unavailable") setTimeout(() => socket.connect(), error.data.retryAfterMillis ?? 2000);
      else this.logout();
    });
    socket.on("auth:expiring", () => this.#renew().catch(() => {})); // without a new token the connection ends, and comes back
    socket.on("receive", (message, about) => this.#receive(message, about ?? {}));
    socket.on("sent", (message, { to }) => this.#conversations.receive(to, { from: this.user, message, mine: true }));
    socket.on("typing", ({ from, room }) => this.#conversations.noteTyping(room ?? from, from));
    socket.on("presence", (change) => this.#presence(change));
  }

  async #withToken(give) {
    try {
      give(this.#token ? { token: await this.#token.get() } : {});
    } catch {
      give({}); // the server says what is missing
    }
  }

  async #renew() {
    if (loginWay !== "demo") return;
    await this.#ask("auth:renew", await this.#token.get({ fresh: true }));
  }

  #told() {
    this.dispatchEvent(new Event("status"));
  }

  #lost() {
    this.ready = false;
    this.node = "";
    this.roundTrip = null;
    this.trips.add(null);
    this.since ??= Date.now();
    clearTimeout(this.#watching);
    this.#told();
  }

  /** Emits an event and waits for the answer. Throws Refused if the server says no. */
  async #ask(event, ...args) {
    const answer = await this.#socket.timeout(answerTime).emitWithAck(event, ...args);
    if (answer?.error) throw new Refused(answer.error.message);
    return answer;
  }

  /** Logs in under a name, or with a token. Throws Refused, or an Error if the server does not answer. */
  async login(entered) {
    let user = entered;
    if (loginWay !== "none") {
      this.#token = new Token(entered);
      user = this.#token.user;
      try {
        await this.#token.get();
      } catch (error) {
        throw error instanceof Unacceptable ? new Refused(error.message) : error;
      }
      this.#socket.disconnect().connect();
    }
    if (!this.connected) await this.#connection();
    await this.#ask("login", user);
    this.user = user;
    this.#conversations.load(user);
    this.dispatchEvent(new Event("login"));
    await this.#resume();
  }

  #connection() {
    return new Promise((resolve, reject) => {
      const socket = this.#socket;
      const settle = (f) => (...args) => {
        clearTimeout(late);
        socket.off("connect", come).off("connect_error", refused);
        f(...args);
      };
      const come = settle(resolve);
      const refused = (error) => error.data?.code && settle(reject)(new Refused(error.message));
      const late = setTimeout(settle(reject), answerTime, new Error("The server does not answer. Is it running?"));
      socket.on("connect", come).on("connect_error", refused);
    });
  }

  /** Greets the node on a new connection, and takes up the user's place again. */
  async #enter() {
    if (this.user === null) {
      await this.measure();
      return;
    }
    await this.#ask("login", this.user);
    await this.#resume();
  }

  /** What follows a login: rooms, what waited to be sent, the list of people. */
  async #resume() {
    for (const room of this.#conversations.rooms()) await this.#rejoin(room);
    this.ready = true;
    if (this.#left) this.#left.took = performance.now() - this.#left.at;
    this.#told();
    for (const { id, message } of this.#conversations.waiting()) this.#deliver(id, message, { hold: true });
    await Promise.all([this.measure(), this.#watch()]);
  }

  async #rejoin(room) {
    try {
      await this.#ask("join", room);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#conversations.setJoined(room, false);
    }
  }

  /** Leaves for good: a reload would ask for a name again. */
  logout() {
    this.#conversations.clear();
    location.replace(location.pathname + location.search);
  }

  /** Asks the node for its name and takes the time. */
  async measure() {
    if (!this.connected) return;
    const start = performance.now();
    const { node } = await this.#ask("whoami");
    this.roundTrip = performance.now() - start;
    this.trips.add(this.roundTrip);
    this.node = node;
    this.#told();
    if (!this.ready || !this.#left) return;
    const { from, took } = this.#left;
    this.#left = null;
    this.dispatchEvent(new CustomEvent("back", { detail: { from, to: node, took } }));
  }

  async #watch() {
    clearTimeout(this.#watching);
    this.#watching = setTimeout(() => this.#watch().catch(() => {}), watchPause * (0.8 + 0.4 * Math.random()));
    await new Promise((resolve, reject) => {
      // Taken as soon as it arrives: a change that follows in the same packet of the transport must not be overwritten.
      this.#socket.timeout(answerTime).emit("watch", (late, list) => {
        if (late || list.error) return reject(late ?? new Refused(list.error.message));
        this.#people.replace(list);
        resolve();
      });
    });
    this.#sendHeld();
  }

  #presence(change) {
    if (change.stale) {
      clearTimeout(this.#watching);
      this.#watching = setTimeout(() => this.#watch().catch(() => {}), change.within * Math.random());
      return;
    }
    this.#people.apply(change);
    this.#sendHeld();
    for (const { room } of change.rooms ?? []) this.dispatchEvent(new CustomEvent("members", { detail: { room } }));
  }

  #receive(message, { from = nobody, room }) {
    if (from === this.user && !room && this.#echoes > 0) {
      this.#echoes--;
      return;
    }
    this.#conversations.receive(room ?? from, { from, message, mine: from === this.user, unread: from !== this.user });
  }

  /** Sends a message now, or as soon as there is a connection. */
  send(id, text) {
    this.#typed.delete(id);
    this.resend(id, this.#conversations.write(id, this.user, text));
  }

  resend(id, message) {
    if (this.ready) this.#deliver(id, message);
    else this.#conversations.mark(id, message, "waiting");
  }

  /** Sends once more what came back before its addressee was there again. */
  #sendHeld() {
    if (!this.ready) return;
    for (const [message, { id, until }] of this.#held) {
      if (until < Date.now()) this.#held.delete(message);
      else if (isRoom(id) ? this.#people.rooms.get(id) > 1 : this.#people.users.has(id)) this.#deliver(id, message);
    }
  }

  /** Sends a message; hold keeps it for a while if nobody is there. */
  async #deliver(id, message, { hold = false } = {}) {
    this.#held.delete(message);
    const mark = (state, note) => this.#conversations.mark(id, message, state, note);
    mark("sending");
    const toSelf = id === this.user;
    if (toSelf) this.#echoes++;
    try {
      const { online, away } = await this.#ask("send", { to: id, message: message.text });
      mark(online ? "delivered" : away ? "kept" : "absent");
      if (!online && !away && hold) this.#held.set(message, { id, until: Date.now() + returnTime });
      if (!isRoom(id)) this.#people.note(id, online);
      else if (!online) this.#people.noteAlone(id);
    } catch (error) {
      if (toSelf) this.#echoes = Math.max(0, this.#echoes - 1);
      mark("failed", error instanceof Refused ? "The server does not accept it" : "No answer from the server; it may have arrived all the same");
    }
  }

  /** Tells the other side that this user is writing, now and then. */
  type(id) {
    const now = Date.now();
    if (!this.ready || now - (this.#typed.get(id) ?? 0) < typingPause) return;
    this.#typed.set(id, now);
    this.#socket.volatile.emit("typing", { to: id });
  }

  /** Enters a public room. Throws Refused if the name will not do. */
  async join(room) {
    if (this.ready) await this.#ask("join", room);
    this.#conversations.setJoined(room, true);
  }

  async leave(room) {
    if (this.ready) await this.#ask("leave", room);
    this.#conversations.forget(room);
  }

  /** {users, total} of a room. */
  async members(room) {
    return this.#ask("members", room);
  }

  /** The nodes, what travels between them, and how long the bus takes. */
  async cluster() {
    return this.#ask("cluster");
  }

  /** Connects anew over other transports: auto, websocket or polling. */
  connectOver(way) {
    if (!(way in transports) || way === this.way) return;
    this.way = way;
    this.#socket.io.opts.transports = transports[way];
    this.reconnect();
  }

  reconnect() {
    this.#socket.disconnect().connect();
  }
}
