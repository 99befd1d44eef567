import { type AuthError, call, isVerdict } from "./api.js";
import { end, fine, good, hold, refresh, show, trouble } from "./session.js";
import { accept } from "./storage.js";
import type { AuthState, Session, SessionInfo, TokenOptions } from "./types.js";
import { emit, type World } from "./world.js";

const current = (w: World): string | null => w.kept?.access_token ?? null;

export const getAccessToken = async (w: World, { minTtl = 5, force, signal }: TokenOptions = {}): Promise<string | null> => {
  if (w.bearer && w.kept && (force || !good(w, minTtl))) {
    signal?.throwIfAborted();
    // Who stops waiting does not stop what is waited for: others want it too.
    const error = await new Promise<AuthError | undefined>((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason as Error));
      void refresh(w).then(resolve);
    });
    if (error && (force || !good(w))) throw error;
  }
  return current(w);
};

/** After a refusal of what was used. Resolves with whether to try again. */
const renew = async (w: World, used: string | null): Promise<boolean> => {
  if (w.bearer && used && current(w) === used) await refresh(w);
  if (!w.bearer) await validate(w);
  return !!w.kept && !(w.bearer && current(w) === used);
};

export const authedFetch = async (w: World, input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
  const request = new Request(input, init);
  // Tokens are for this origin alone, and who brings a credential means that one.
  if (!request.url.startsWith(location.origin + "/") || request.headers.has("Authorization")) return fetch(request);
  const again = request.clone();
  const send = (one: Request): Promise<Response> => {
    const token = current(w);
    if (token) one.headers.set("Authorization", "Bearer " + token);
    return fetch(one);
  };
  const used = await getAccessToken(w).catch(() => current(w));
  const response = await send(request);
  const code = response.headers.get("Sidegate-Error");
  // A fresh code is nothing a refresh could give.
  if (response.status !== 401 || !code || code === "reauthentication_required") return response;
  return (await renew(w, used)) ? send(again) : response;
};

/** Asks the API as the user. */
export const ask = async <T = undefined>(w: World, method: string, path: string, body?: object): Promise<T> => {
  await getAccessToken(w);
  return call(w, method, path, body, true);
};

const look = async (w: World): Promise<AuthState> => {
  const { kept, bearer } = w;
  const mine = kept?.session_id;
  if (bearer && !mine) return w.standing;
  try {
    const session = await (bearer ? ask : call)<SessionInfo>(w, "GET", "/session");
    const { session_id, is_active, end_reason = "revoked", expires_at } = session;
    const user = !bearer && is_active && (await call<Session>(w, "GET", "/user"));
    fine(w);
    if (w.kept?.session_id !== mine) return w.standing; // over, or another one, while we asked
    if (!is_active) end(w, session_id, end_reason);
    else if (user) {
      const is_new_user = mine === session_id && kept!.is_new_user;
      hold(w, accept(w, { ...session, ...user, session_expires_at: expires_at, is_new_user, expires_in: 0 }, 1));
    }
    show(w);
    if (is_active) emit(w, "validated", { session });
  } catch (error) {
    if (w.kept?.session_id !== mine) return w.standing;
    // The cookie is all tabs' own: what is wrong with it is known here for certain.
    if (bearer || !isVerdict(error as AuthError)) trouble(w, error as AuthError);
    else if (mine) end(w, mine, "revoked");
    else show(w);
  }
  return w.standing;
};

export const validate = (w: World): Promise<AuthState> => (w.looking ??= look(w).finally(() => (w.looking = undefined)));
