// React's binding: a thin layer that only subscribes. The client is made by the app, which hands it to AuthProvider.
import { createContext, createElement, useCallback, useContext, useEffect, useMemo, useState, useSyncExternalStore, type ReactNode } from "react";
import type { AuthError } from "./api.js";
import type { AuthClient, AuthState, Challenge, Session, SessionInfo } from "./types.js";

const Context = createContext<AuthClient | null>(null);

/** Gives the client to what is inside, and runs it while it is mounted. */
export const AuthProvider = ({ client, children }: { client: AuthClient; children?: ReactNode }): ReactNode => {
  useEffect(() => client.start(), [client]);
  return createElement(Context.Provider, { value: client }, children);
};

const useClient = (): AuthClient => {
  const client = useContext(Context);
  if (!client) throw new Error("useAuth: there is no <AuthProvider> around this component");
  return client;
};

/** The state, and the client that it is of. Switch on status. */
export const useAuth = (): AuthState & { client: AuthClient } => {
  const client = useClient();
  const state = useSyncExternalStore(client.subscribe, client.getState, client.getServerState);
  return useMemo(() => ({ ...state, client }), [state, client]);
};

export interface SessionOptions {
  required?: boolean;
  /** What to do when nobody is signed in. Default: go to the hosted login page, and back after it. */
  onUnauthenticated?: () => void;
}

const goToLogin = (): void => location.assign("/auth/login?return_to=" + encodeURIComponent(location.pathname + location.search));

/** The state. With required it is never unauthenticated: then it is loading, and onUnauthenticated takes over. */
export function useSession(options: SessionOptions & { required: true }): Exclude<AuthState, { status: "unauthenticated" }>;
export function useSession(options?: SessionOptions): AuthState;
export function useSession({ required, onUnauthenticated = goToLogin }: SessionOptions = {}): AuthState {
  const client = useClient();
  const state = useSyncExternalStore(client.subscribe, client.getState, client.getServerState);
  const missing = !!required && state.status === "unauthenticated";
  useEffect(() => {
    if (missing) onUnauthenticated();
  }, [missing]);
  return missing ? { status: "loading" } : state;
}

/** How far a sign-in is: "phone" wants a number, "code" the code that was sent to it. */
export type PhoneLogin = (
  | { status: "phone" }
  | { status: "sending" }
  | { status: "code"; challenge: Challenge }
  | { status: "verifying"; challenge: Challenge }
  | { status: "done"; session: Session }
) & { error?: AuthError };

export interface PhoneLoginActions {
  sendCode(phone: string, channel?: string): Promise<void>;
  resendCode(): Promise<void>;
  verifyCode(code: string): Promise<void>;
  /** Back to the number. */
  reset(): void;
}

/** The steps of a sign-in. Its actions never reject: what went wrong is in error. */
export const usePhoneLogin = (): PhoneLogin & PhoneLoginActions => {
  const client = useClient();
  const [login, setLogin] = useState<PhoneLogin>({ status: "phone" });
  const challenge = "challenge" in login ? login.challenge : undefined;
  const actions = useMemo((): PhoneLoginActions => {
    const step = async (during: PhoneLogin, back: PhoneLogin, run: () => Promise<PhoneLogin>): Promise<void> => {
      setLogin(during);
      setLogin(await run().catch((error: unknown) => ({ ...back, error: error as AuthError })));
    };
    const known = challenge ? ({ status: "code", challenge } as const) : ({ status: "phone" } as const);
    return {
      sendCode: (phone, channel) =>
        step({ status: "sending" }, { status: "phone" }, async () => ({ status: "code", challenge: await client.sendCode(channel ? { phone, channel } : { phone }) })),
      resendCode: async () => challenge && step(known, known, async () => ({ status: "code", challenge: await client.resendCode(challenge) })),
      verifyCode: async (code) =>
        challenge && step({ status: "verifying", challenge }, known, async () => ({ status: "done", session: await client.verifyCode(challenge, code) })),
      reset: () => setLogin({ status: "phone" }),
    };
  }, [client, challenge]);
  return { ...login, ...actions };
};

/** The user's sessions. */
export type Sessions = ({ status: "loading" } | { status: "ready"; sessions: SessionInfo[] } | { status: "error"; error: AuthError }) & {
  reload(): Promise<void>;
  revoke(sessionID: string): Promise<void>;
  revokeOthers(): Promise<void>;
};

/** Lists the user's sessions, and ends them. */
export const useSessions = (): Sessions => {
  const { sessions } = useClient();
  const [list, setList] = useState<{ status: "loading" } | { status: "ready"; sessions: SessionInfo[] } | { status: "error"; error: AuthError }>({ status: "loading" });
  const after = useCallback(
    (first?: Promise<void>): Promise<void> =>
      Promise.resolve(first)
        .then(() => sessions.list())
        .then(
          (sessions) => setList({ status: "ready", sessions }),
          (error: AuthError) => setList({ status: "error", error }),
        ),
    [sessions],
  );
  useEffect(() => void after(), [after]);
  return { ...list, reload: () => after(), revoke: (id) => after(sessions.revoke(id)), revokeOthers: () => after(sessions.revokeOthers()) };
};

interface Inside {
  children?: ReactNode;
}

/** Shows its children while somebody is signed in, and fallback while not. */
export const RequireAuth = ({ children, fallback }: Inside & { fallback?: ReactNode }): ReactNode =>
  useSession().status === "authenticated" ? children : fallback;

/** Shows its children while somebody is signed in. */
export const SignedIn: (props: Inside) => ReactNode = RequireAuth;

/** Shows its children while nobody is signed in. */
export const SignedOut = ({ children }: Inside): ReactNode => useSession().status === "unauthenticated" && children;
