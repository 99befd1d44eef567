import { type AuthError, call, isVerdict } from "./api.js";
import { end, trouble } from "./session.js";
import { get, type Held, parse, set } from "./storage.js";
import type { SignedOutReason } from "./types.js";
import type { World } from "./world.js";

/** Leaves word for the server that a session is over. It outlives the page: offline, it is told later. */
export const notify = (w: World, { refresh_token }: Held, scope = "session"): void => set(w, "logout", JSON.stringify({ refresh_token, scope }));

/** Signs out here at once. */
export const signOut = (w: World, reason: SignedOutReason, scope?: string): Promise<boolean> => {
  const { kept } = w;
  if (kept) {
    notify(w, kept, scope);
    end(w, kept.session_id, reason);
  }
  return deliver(w);
};

/** Tells the server what it has not heard of. Resolves with whether nothing is left. */
export const deliver = async (w: World): Promise<boolean> => {
  const text = get(w, "logout");
  if (!text) return true;
  try {
    await call(w, "POST", "/logout", parse(text));
  } catch (error) {
    if (!isVerdict(error as AuthError)) {
      trouble(w, error as AuthError);
      return false;
    }
    // Refused for good, it was over already.
  }
  if (get(w, "logout") === text) set(w, "logout");
  return true;
};
