import type { AuthState, Events, Session, SignedOutReason } from "./types.js";

/** What can happen to the state: a session, a connection, or the end. */
export type Action = { session?: Session | undefined; offline?: boolean } | { out: SignedOutReason | undefined };

/** The session of a state, if it has one. */
const sessionIn = (state: AuthState): Session | undefined => ("session" in state ? state.session : undefined);

/** The state after an action; the very same object when nothing changes. */
export const reduce = (state: AuthState, action: Action): AuthState => {
  if ("out" in action) {
    // The first reason stands: what follows only repeats it.
    return state.status === "unauthenticated" ? state : { status: "unauthenticated", ...(action.out && { reason: action.out }) };
  }
  const known = sessionIn(state);
  const { offline = false } = action;
  let session = action.session ?? known;
  if (!session) return state;
  if (JSON.stringify(session) === JSON.stringify(known)) session = known!;
  const next = { status: "authenticated", session, offline } as const;
  // Only a state like next has a session.
  return session === known && (state as typeof next).offline === offline ? state : next;
};

/** An event with its detail. */
export type Happening = { [E in keyof Events]: [event: E, detail: Events[E]] }[keyof Events];

/** What a change of the state is to the app, if anything. */
export const happening = (before: AuthState, after: AuthState): Happening | undefined => {
  const [previous, session] = [sessionIn(before), sessionIn(after)];
  if (!session) {
    // A page that finds nobody signed in has lost nothing, unless it knows why.
    const { reason } = after as { reason?: SignedOutReason };
    return previous || reason ? ["signed-out", { reason }] : undefined;
  }
  // A page that finds the session it had has not signed in.
  if (before.status === "loading" || previous?.session_id === session.session_id) return;
  return [previous && previous.auth_user_id !== session.auth_user_id ? "user-switched" : "signed-in", { session }];
};
