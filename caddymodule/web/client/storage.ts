import { AuthError } from "./api.js";
import type { Session } from "./types.js";
import { emit, type World } from "./world.js";

/** The server's answer to a sign-in or refresh, and what a browser adds. */
export interface Held extends Session {
  access_token?: string;
  refresh_token?: string;
  expires_in: number;
  /** Grows with each refresh and sign-in of this browser. */
  generation: number;
  /** When the answer came, by this machine's clock, in ms. */
  received_at: number;
}

/** Whether it is as we write it. What storage holds may come from anywhere. */
const isHeld = (w: World, value: Partial<Held>): value is Held =>
  value.expires_in! + value.generation! + value.received_at! > 0 && // not so if any is missing
  Array.isArray(value.user_roles) &&
  !!value.session_id &&
  // A token goes into a header: anything else there would throw at each request.
  (!w.bearer || (!!value.refresh_token && /^[!-~]+$/.test(value.access_token ?? "")));

/** Takes an answer of the server, which must be one. */
export const accept = (w: World, answer: object, generation: number): Held => {
  const held: Partial<Held> = { ...answer, generation, received_at: Date.now() };
  if (!isHeld(w, held)) throw new AuthError("unreachable", 0);
  return held;
};

/** The value of a JSON text; an empty object when it is none. */
export const parse = (text: string | null | undefined): object => {
  try {
    return Object(JSON.parse(text!)) as object;
  } catch {
    return {};
  }
};

// localStorage may throw, be null, be full, be cleared at any time and hold anything. What cannot be written there
// lives in memory, and the first time that happens the app is told.

const load = (w: World, key: string): string | null | undefined => {
  if (w.unwritten.has(key)) return w.unwritten.get(key);
  try {
    return localStorage.getItem(key);
  } catch {
    return;
  }
};

const save = (w: World, key: string, value?: string | number): void => {
  const text = value ? String(value) : undefined;
  const put = (): void => (text ? localStorage.setItem(key, text) : localStorage.removeItem(key));
  try {
    try {
      put();
    } catch {
      // Full: the old value may have taken the place that the new one needs.
      localStorage.removeItem(key);
      put();
    }
    w.unwritten.delete(key);
  } catch {
    if (!w.unwritten.size) emit(w, "storage-unavailable", {});
    w.unwritten.set(key, text);
  }
};

export const readHeld = (w: World): Held | undefined => {
  if (!w.bearer) return w.kept; // with the cookie transport nothing of a session is stored
  const text = load(w, w.tokensKey);
  const held: Partial<Held> = parse(text);
  if (isHeld(w, held)) return held;
  if (text) save(w, w.tokensKey); // rubbish
  return;
};

/** Keeps or, without a value, removes the tokens. */
export const writeHeld = (w: World, held?: Held): void => {
  if (!w.bearer) return;
  save(w, w.tokensKey, held && JSON.stringify(held));
  save(w, w.keyBase + "session_id", held?.session_id);
};

/** Other values, by what follows the common beginning of the keys. */
export const get = (w: World, name: string): string | null | undefined => load(w, w.keyBase + name);

export const set = (w: World, name: string, value?: string | number): void => save(w, w.keyBase + name, value);

/** A time that all tabs know, in ms; 0 when there is none or it lies in the future. */
export const stamp = (w: World, name: string): number => {
  const at = Number(get(w, name));
  return at <= Date.now() ? at : 0;
};
