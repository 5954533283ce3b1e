// The line of round trips in the panel.

const kept = 60;
const width = 240; // of the drawing's own units
const height = 48;
const edge = 3; // room for the line's own thickness

/** A time as it is shown. */
export const inWords = (ms) => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

/** The newest round trips in ms; null is a stretch without an answer, however long. */
export class Trips {
  #values = [];

  add(trip) {
    if (trip === null && (this.#values.at(-1) ?? null) === null) return;
    this.#values.push(trip);
    if (this.#values.length > kept) this.#values.shift();
  }

  #answered() {
    return this.#values.filter((trip) => trip !== null);
  }

  /** What the line shows, in words. */
  get summary() {
    const trips = this.#answered().sort((a, b) => a - b);
    if (trips.length < 2) return "";
    return `${trips.length} round trips, from ${inWords(trips[0])} to ${inWords(trips.at(-1))}, half of them within ${inWords(trips[Math.floor((trips.length - 1) / 2)])}`;
  }

  /** The line as an SVG path, the newest at the right, from 0 at the bottom to the longest at the top. */
  get path() {
    const top = Math.max(1, ...this.#answered());
    const step = (width - 2 * edge) / (kept - 1);
    const first = kept - this.#values.length;
    let drawing = false;
    return this.#values
      .map((trip, i) => {
        if (trip === null) {
          drawing = false;
          return "";
        }
        const x = (edge + (first + i) * step).toFixed(1);
        const y = (height - edge - (trip / top) * (height - 2 * edge)).toFixed(1);
        const command = drawing ? `L${x} ${y}` : `M${x} ${y}h0`; // of length 0, so that one alone is a dot
        drawing = true;
        return command;
      })
      .join("");
  }
}
