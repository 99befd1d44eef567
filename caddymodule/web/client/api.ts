import { authedFetch } from "./access.js";
import type { World } from "./world.js";

/** How long an answer is waited for. Less than a tab waits for the one that refreshes. */
const TIMEOUT_MS = 8_000;

/**
 * A request that did not succeed. code is one of the server's, or "unreachable" when no answer of Sidegate came:
 * the network is down, or something on the way answered in its place.
 */
export class AuthError extends Error {
  declare readonly code: string;
  /** HTTP status; 0 when no answer of Sidegate came. */
  declare readonly status: number;
  /** Seconds after which to try again, if the answer said so. */
  declare readonly retryAfter?: number;
  /** Tries left for this code. */
  declare readonly attemptsLeft?: number;

  constructor(code: string, status: number, detail?: string, retryAfter?: number, attemptsLeft?: number) {
    super(detail || code);
    Object.assign(this, { code, status, retryAfter, attemptsLeft });
  }
}

/** Whether the server has decided, so that asking again would change nothing. */
export const isVerdict = ({ status }: AuthError): boolean => status >= 400 && status < 500 && status !== 429;

/** Asks the API, as the user or without a credential. Resolves with the JSON object of the answer, if it has one. */
export const call = async <T = undefined>(w: World, method: string, path: string, body?: object, asUser?: boolean): Promise<T> => {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), TIMEOUT_MS);
  const init: RequestInit = {
    method,
    credentials: w.cookies,
    headers: { "Content-Type": "application/json" },
    body: body ? JSON.stringify(body) : null,
    keepalive: true, // a sign-out is often the last thing a page does
    signal: patience.signal,
  };
  const url = w.apiBase + path;
  const response = await (asUser ? authedFetch(w, url, init) : fetch(url, init)).catch(() => undefined);
  const answer: unknown = await response?.json().catch(() => undefined); // nothing, or a page of somebody else
  clearTimeout(timer);
  if (response?.ok && (response.status === 204 || answer instanceof Object)) return answer as T;

  // Only an answer with this header is ours: a proxy's or an app's 401 is no verdict on a session.
  const code = response?.headers.get("Sidegate-Error");
  const wait = Number(response?.headers.get("Retry-After")) || undefined;
  const { detail, attempts_left } = (answer ?? {}) as { detail?: string; attempts_left?: number };
  throw code ? new AuthError(code, response!.status, detail, wait, attempts_left) : new AuthError("unreachable", 0, "", wait);
};
