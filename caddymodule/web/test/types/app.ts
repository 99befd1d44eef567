import { AuthError, createAuthClient, type AuthState, type Challenge, type Device, type Session, type SessionInfo } from "@sidegate/client";
import { useAuth, usePhoneLogin, useSession, useSessions, AuthProvider, RequireAuth } from "@sidegate/client/react";

/** Fails to compile unless both are the very same type. */
const same = <A, B>(_: (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : never): void => {};

const client = createAuthClient({ api: "/api/v1/auth", transport: "cookie", refreshLead: 60, activity: { syncEvery: 30, idleTimeout: 900, warnBefore: 60 }, events: false, debug: true });
createAuthClient();
createAuthClient({ activity: false, device: { device_name: "Kiosk" } });
// @ts-expect-error: there are two transports
createAuthClient({ transport: "smoke" });

same<typeof client.ready, Promise<AuthState>>(true);
same<ReturnType<typeof client.sendCode>, Promise<Challenge>>(true);
same<ReturnType<typeof client.verifyCode>, Promise<Session>>(true);
same<ReturnType<typeof client.getAccessToken>, Promise<string | null>>(true);
same<typeof client.fetch, typeof fetch>(true);
same<ReturnType<typeof client.validate>, Promise<AuthState>>(true);
same<ReturnType<typeof client.logout>, Promise<void>>(true);
same<ReturnType<typeof client.sessions.list>, Promise<SessionInfo[]>>(true);
same<ReturnType<typeof client.updateDevice>, Promise<Device>>(true);
same<ReturnType<typeof client.start>, () => void>(true);

const stop: () => void = client.on("signed-out", ({ reason }) => {
  same<typeof reason, "logout" | "idle" | "expired" | "revoked" | "replaced" | "evicted" | "reused" | "banned" | "other-tab" | "storage" | undefined>(true);
});
client.on("user-switched", ({ session }) => session.user_roles.includes("admin"));
// @ts-expect-error: no such event
client.on("signed-sideways", () => {});
stop();

export const name = (state: AuthState): string => {
  switch (state.status) {
    case "loading":
      // @ts-expect-error: nobody is known yet
      return state.session.user_type;
    case "authenticated":
      return state.session.user_type + String(state.offline satisfies boolean);
    case "unauthenticated":
      return state.reason ?? "";
  }
};

export const Component = (): string | null => {
  const auth = useAuth();
  // @ts-expect-error: only once the status is known
  auth.session;
  if (auth.status === "authenticated") same<typeof auth.session, Session>(true);
  same<ReturnType<typeof auth.client.touch>, Promise<void>>(true);

  const required = useSession({ required: true });
  same<typeof required.status, "loading" | "authenticated">(true);
  same<ReturnType<typeof useSession>, AuthState>(true);

  const login = usePhoneLogin();
  if (login.status === "code") same<typeof login.challenge, Challenge>(true);
  if (login.status === "done") same<typeof login.session, Session>(true);
  if (login.error) same<typeof login.error, AuthError>(true);
  void login.sendCode("+46701234567");

  const sessions = useSessions();
  if (sessions.status === "ready") same<typeof sessions.sessions, SessionInfo[]>(true);
  void sessions.revoke("id");

  AuthProvider({ client, children: null });
  RequireAuth({ fallback: null });
  return null;
};

export const code = async (): Promise<string | undefined> => {
  try {
    await client.sendCode({ phone: "+46701234567" });
  } catch (error) {
    if (error instanceof AuthError) return `${error.code} ${error.status satisfies number} ${error.retryAfter} ${error.attemptsLeft}`;
  }
  return undefined;
};
