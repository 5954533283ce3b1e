// How one logs in here, as the server has written it into the page, and the tokens for that.

/** "none": any name, unverified; "demo": any name, for which the server gives a token; "jwt": a token that one has. */
export const way = document.querySelector('meta[name="login"]').content;

export const words = {
  none: { label: "Your name", lead: "Choose any name: logins are not verified, and anybody can take yours." },
  demo: { label: "Your name", lead: "Choose any name: the server gives you a token for it, and asks for it with every connection." },
  jwt: { label: "Your token", lead: "Paste a token that this server accepts; its subject is your name." },
}[way];

const early = 30_000; // ms before its expiry from which on a token is not used for a new connection

/** What the claims of a token say, without a look at the signature: the server has that. */
function claimsOf(token) {
  try {
    const text = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (c) => c.charCodeAt(0))));
  } catch {
    return {};
  }
}

/** The token of one user. */
export class Token {
  user;
  #text = "";
  constructor(entered) {
    this.user = entered;
    if (way !== "jwt") return;
    this.#text = entered;
    this.user = claimsOf(entered).sub ?? "";
  }

  /** A token that lives for a while; with fresh, a new one if the server gives any. */
  async get({ fresh = false } = {}) {
    const left = (claimsOf(this.#text).exp ?? 0) * 1000 - Date.now();
    if (way !== "demo" || (!fresh && left > early)) return this.#text;
    const answer = await fetch("./demo-token", { method: "POST", body: JSON.stringify({ user: this.user }) });
    if (answer.status === 422) throw new Unacceptable(await answer.text());
    if (!answer.ok) throw new Error("The server gives no token.");
    this.#text = (await answer.json()).token;
    return this.#text;
  }
}

/** The server does not give a token for this name. */
export class Unacceptable extends Error {}
