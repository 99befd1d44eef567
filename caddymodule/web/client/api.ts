import { authedFetch } from "./access.js";
import type { Puzzle } from "./work.js";
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
  declare readonly retryAfter: number | undefined;
  /** Tries left for this code. */
  declare readonly attemptsLeft: number | undefined;

  constructor(code: string, status: number, detail?: string, retryAfter?: number, attemptsLeft?: number) {
    super(detail || code);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
    this.attemptsLeft = attemptsLeft;
  }
}

/** Whether the server has decided, so that asking again would change nothing. */
export const isVerdict = ({ status }: AuthError): boolean => status > 0 && status < 500 && status !== 429;

/** What an error answer of ours says beyond its headers. */
interface Refusal {
  detail?: string;
  attempts_left?: number;
  /** What the server takes instead of waiting. */
  proof_of_work?: Puzzle;
}

/**
 * Asks the API, as the user or without a credential. Resolves with the JSON object of the answer, if it has one. Work
 * that the server asks for is done on the way, so many times: a solution may have run out when it arrives.
 */
export const call = async <T = undefined>(w: World, method: string, path: string, body?: object, asUser?: boolean, puzzles = 2): Promise<T> => {
  const init: RequestInit = {
    method,
    credentials: w.cookies,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    keepalive: true, // a sign-out is often the last thing a page does
    signal: AbortSignal.timeout(TIMEOUT_MS),
  };
  const url = w.apiBase + path;
  const response = await (asUser ? authedFetch(w, url, init) : fetch(url, init)).catch(() => undefined);
  const answer: unknown = await response?.json().catch(() => undefined); // nothing, or a page of somebody else
  if (response?.ok && (response.status === 204 || answer instanceof Object)) return answer as T;

  // Only an answer with this header is ours: a proxy's or an app's 401 is no verdict on a session.
  const code = response?.headers.get("Sidegate-Error");
  const wait = Number(response?.headers.get("Retry-After")) || undefined;
  const { detail, attempts_left, proof_of_work } = ((code && answer) || {}) as Refusal;
  if (proof_of_work && puzzles) {
    // Where the work cannot be loaded or done, the refusal stands.
    const proof = await import("./work.js").then((work) => work.solve(proof_of_work)).catch(() => {});
    if (proof) return call(w, method, path, { ...body, proof }, asUser, puzzles - 1);
  }
  throw new AuthError(code || "unreachable", code ? response!.status : 0, detail, wait, attempts_left);
};
