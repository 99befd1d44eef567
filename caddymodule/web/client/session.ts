import { type AuthError, call } from "./api.js";
import { alone, announce, announced, readNewest } from "./refresh.js";
import { accept, get, type Held, readHeld, set, writeHeld } from "./storage.js";
import { post } from "./tabs.js";
import type { EndReason, Session, SignedOutReason } from "./types.js";
import { dispatch, emit, type World } from "./world.js";

/** No answer may put us off for longer. */
const LONGEST_WAIT_MS = 3_600_000;
/** As long as tabs may see each other's writes late. */
const SETTLE_MS = 100;

const sessionFields = ["session_id", "auth_user_id", "user_type", "user_roles", "device_id", "session_expires_at", "is_new_user"];

/** What the app may see, and no token. */
const sessionOf = (held: Held): Session => JSON.parse(JSON.stringify(held, sessionFields)) as Session;

/** Shows what is held. */
export const show = (w: World): void => dispatch(w, w.kept ? { session: sessionOf(w.kept) } : { out: undefined });

const adopt = (w: World, next: Held): void => {
  const before = w.kept;
  const { session_id, expires_in } = (w.kept = next);
  // With jitter: not all browsers that signed in at once refresh at once.
  w.leadMs = Math.min(w.settings.refreshLead ?? 300, expires_in / 3) * (1000 + Math.random() * 100);
  // A page that has just been opened shows a token only when it is known to be good.
  if (before || w.standing.status !== "loading") show(w);
  if (w.bearer && before?.session_id === session_id) emit(w, "token-refreshed", { session_id });
};

/** Takes over what other tabs wrote. gone is the reason when there is nothing any more. */
export const sync = (w: World, gone: SignedOutReason = "storage"): void => {
  const { kept, ended } = w;
  const found = readHeld(w);
  const ahead = found && found.session_id === kept?.session_id ? found.generation - kept.generation : 1;
  if (!found) leave(w, kept?.session_id, gone);
  // Somebody wrote late: after a sign-out, a switch of the user or a newer refresh. Put back what is right.
  else if (ended.has(found.session_id) || ahead < 0) writeHeld(w, kept);
  else if (ahead) adopt(w, found);
};

/** The same when all that was written can be seen. */
export const syncSoon = (w: World, gone: SignedOutReason): void => void setTimeout(sync, SETTLE_MS, w, gone);

const leave = (w: World, sessionID: string | undefined, reason: SignedOutReason): void => {
  if (!sessionID) return;
  w.ended.add(sessionID);
  if (w.kept && w.kept.session_id !== sessionID) return;
  w.kept = undefined;
  dispatch(w, { out: reason });
};

/** Ends a session in all tabs. */
export const end = (w: World, sessionID: string, reason: SignedOutReason): void => {
  writeHeld(w);
  post(w, { out: sessionID, why: reason });
  leave(w, sessionID, reason);
};

/** Another tab ended a session or, without a reason, put another one in its place. */
export const heardEnd = (w: World, sessionID: string, reason?: SignedOutReason): void => {
  w.ended.add(sessionID);
  if (reason) leave(w, sessionID, reason === "logout" ? "other-tab" : reason);
  syncSoon(w, "other-tab"); // our own late write may be there still
};

/** Takes a session that no other tab has to hear of. */
export const hold = (w: World, next: Held): void => {
  writeHeld(w, next);
  adopt(w, next);
};

export const signIn = (w: World, answer: object): Session => {
  const before = w.kept;
  const next = accept(w, answer, Math.max(Date.now(), (before?.generation ?? 0) + 1));
  if (w.standing.status === "loading") show(w);
  if (before) {
    w.ended.add(before.session_id);
    post(w, { out: before.session_id });
  }
  hold(w, next);
  post(w, {});
  return sessionOf(next);
};

/** Whether the token lives that much longer. */
export const good = ({ kept, bearer }: World, seconds = 0): boolean => {
  if (!kept || !bearer) return !!kept;
  const age = (Date.now() - kept.received_at) / 1000;
  // A negative age is a clock that was set back: nobody knows how old the token is.
  return age > -1 && age < kept.expires_in - Math.min(seconds, kept.expires_in / 2);
};

/** When the token is to be refreshed, in ms. */
export const dueAt = (w: World): number => {
  const { kept, bearer, leadMs } = w;
  if (!kept || !bearer) return Infinity;
  return good(w) ? kept.received_at + kept.expires_in * 1000 - leadMs : 0;
};

/** When the server may be asked again after trouble, in ms. All tabs know it. */
export const retryAt = (w: World): number => Number(get(w, "retry_at")) || 0; // it may be rubbish

/** Something failed that says nothing about the session. */
export const trouble = (w: World, error: AuthError): void => {
  w.failure = error;
  const wait = error.retryAfter ?? Math.min(30, 2 ** w.failures++) * (1 + Math.random());
  set(w, "retry_at", Date.now() + Math.min(wait * 1000, LONGEST_WAIT_MS));
  dispatch(w, { session: w.kept && sessionOf(w.kept), offline: true });
};

/** The server answered. */
export const fine = (w: World): void => {
  w.failures = 0;
  set(w, "retry_at");
};

/** Asks the server for what follows the tokens, unless another tab has done so. */
const exchange = async (w: World, generation: number, mine: () => boolean): Promise<void> => {
  const current = await readNewest(w);
  if (!current) return syncSoon(w, "other-tab");
  if (current.generation > generation) return sync(w);
  const { session_id, refresh_token, is_new_user } = current;
  const same = (): boolean => readHeld(w)?.refresh_token === refresh_token && !w.ended.has(session_id);
  try {
    const answer = await call<object>(w, "POST", "/refresh", { refresh_token });
    const next = accept(w, { ...answer, is_new_user }, current.generation + 1);
    // Who took the lock meanwhile has written, or will. From these checks to the write nothing may come between.
    const newer = await announced(w);
    if (!mine() || newer > current.generation || !same()) return;
    hold(w, next);
    fine(w);
    await announce(w, next.generation);
  } catch (error) {
    // refresh_token_reused, session_expired, …: these are verdicts, and their last word is the reason.
    const word = /^(refresh_token|session)_(\w+)/.exec((error as AuthError).code)?.[2];
    if (!word) trouble(w, error as AuthError);
    else if (same()) end(w, session_id, word === "invalid" ? "revoked" : (word as EndReason));
    throw error;
  }
};

const run = async (w: World): Promise<AuthError | undefined> => {
  const { kept, failure } = w;
  if (!kept) return;
  try {
    // The server said itself how long to wait.
    if (failure?.retryAfter && Date.now() < retryAt(w)) throw failure;
    await alone(w, (mine) => exchange(w, kept.generation, mine));
  } catch (error) {
    emit(w, "refresh-failed", { error: error as AuthError });
    if (w.kept) return error as AuthError;
  }
  return;
};

/** One refresh per browser. Resolves with an error when the server could not be asked; else kept has the result. */
export const refresh = (w: World): Promise<AuthError | undefined> => (w.refreshing ??= run(w).finally(() => (w.refreshing = undefined)));
