import { happening, reduce, type Action } from "./state.js";
import type { Held } from "./storage.js";
import type { AuthClientOptions, AuthState, Events } from "./types.js";
import type { AuthError } from "./api.js";

type Handler = (detail: never) => void;

/**
 * All that one client remembers. The functions of the other files work on it. Its members' names are shortened in the
 * bundles, so none of them may be a name of the API, of an option or of the browser.
 */
export interface World {
  settings: AuthClientOptions;
  bearer: boolean;
  apiBase: string;
  /** Whether the browser adds cookies to what we ask. */
  cookies: RequestCredentials;

  standing: AuthState;
  handlers: Set<readonly [event: string, handler: Handler]>;
  /** Resolves ready. */
  settle: (state: AuthState) => void;

  /** Key of the stored tokens, and the beginning of the other keys. */
  tokensKey: string;
  keyBase: string;
  /** What could not be written to the storage. */
  unwritten: Map<string, string | undefined>;

  /** The session as this tab holds it. */
  kept?: Held | undefined;
  /** How long before its expiry the token is refreshed. */
  leadMs: number;
  /** Sessions that are over, whatever a late writer stores. */
  ended: Set<string>;
  line?: BroadcastChannel | undefined;

  /** Calls in flight, which all who want the same share. */
  refreshing?: Promise<AuthError | undefined> | undefined;
  looking?: Promise<AuthState> | undefined;

  /** Failures in a row, and the last one. */
  failures: number;
  failure?: AuthError;
  /** The last activity for which a warning was sent. */
  warnedFor?: number;
}

export const emit = <E extends keyof Events>(w: World, event: E | "", detail?: Events[E]): void => {
  if (w.settings.debug) console.debug(event, detail);
  // In a task of its own each: one that throws is reported, and stops nobody.
  for (const [wanted, handler] of w.handlers) if (wanted === event) queueMicrotask(() => handler(detail as never));
};

/** Calls the handler at each event; "" is any change of the state. Returns what ends that. */
export const on = (w: World, event: string, handler: Handler): (() => void) => {
  const entry = [event, handler] as const;
  w.handlers.add(entry);
  return () => void w.handlers.delete(entry);
};

export const dispatch = (w: World, action: Action): void => {
  const before = w.standing;
  const after = (w.standing = reduce(before, action));
  if (after === before) return;
  w.settle(after); // no change leads back to loading
  emit(w, "");
  const news = happening(before, after);
  if (news) emit(w, ...(news as ["signed-out", Events["signed-out"]]));
};
