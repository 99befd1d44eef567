import type { AuthError } from "./api.js";

/** Why a session ended, as the server says it. */
export type EndReason = "logout" | "idle" | "expired" | "revoked" | "replaced" | "evicted" | "reused" | "banned";

/** Why nobody is signed in here: the server's reason, a sign-out in another tab, or a storage that was cleared. */
export type SignedOutReason = EndReason | "other-tab" | "storage";

/** Who is signed in. No token is ever part of it. */
export interface Session {
  session_id: string;
  auth_user_id: number;
  user_type: string;
  user_roles: string[];
  device_id: string;
  /** The absolute end of the session, RFC 3339. */
  session_expires_at: string;
  /** True in the session of the very first sign-in. */
  is_new_user: boolean;
}

export type AuthState =
  | { status: "loading" }
  | { status: "authenticated"; session: Session; offline: boolean }
  | { status: "unauthenticated"; reason?: SignedOutReason };

/** A session in the list of all the user's sessions. */
export interface SessionInfo {
  session_id: string;
  auth_user_id: number;
  device_id: string;
  device_type: string;
  device_name: string;
  platform: string;
  is_active: boolean;
  end_reason?: EndReason;
  created_at: string;
  last_accessed: string;
  last_accessed_at: string;
  last_activity_at: string;
  expires_at: string;
  current: boolean;
}

/** What a device is called. fcm_token is only ever sent, has_fcm_token only received. */
export interface Device {
  device_id: string;
  device_type: string;
  device_name: string;
  platform: string;
  platform_version: string;
  app_version: string;
  fcm_token?: string;
  has_fcm_token?: boolean;
}

/** A code that is on its way to a phone. */
export interface Challenge {
  challenge_id: string;
  /** Seconds the code lives. */
  expires_in: number;
  /** Seconds until it may be sent again. */
  resend_after: number;
  code_length: number;
  channel: string;
  /** As it was given to sendCode. */
  phone: string;
}

export interface Events {
  /** Somebody signed in, in this tab or another. Not sent when a page finds the session it had. */
  "signed-in": { session: Session };
  /** Once for each session that ends. */
  "signed-out": { reason: SignedOutReason | undefined };
  /** Another tab signed in as somebody else. */
  "user-switched": { session: Session };
  /** There is a new access token: made by this tab, or by another one. */
  "token-refreshed": { session_id: string };
  /** A refresh got no token. Unless signed-out follows, the session is kept and it is tried again. */
  "refresh-failed": { error: AuthError };
  /** The server said that the session lives. */
  validated: { session: SessionInfo };
  /** idleTimeout is near; touch() keeps the session. */
  "idle-warning": { remaining: number };
  /** The browser does not store anything: this tab alone will know the session, until it is closed. */
  "storage-unavailable": Record<string, never>;
}

export interface ActivityOptions {
  /** Seconds between two reports to the server. Default 60. */
  syncEvery?: number;
  /** Seconds without pointer, keyboard or scrolling after which this browser signs out. Default: never. */
  idleTimeout?: number;
  /** Seconds before idleTimeout at which idle-warning is sent. Default 60. */
  warnBefore?: number;
}

export interface AuthClientOptions {
  /** Path of the API. Default /api/v1/auth. */
  api?: string;
  /** bearer keeps tokens in localStorage; cookie keeps them out of script's reach. Default bearer. */
  transport?: "bearer" | "cookie";
  /** Name of the stored tokens. Default auth_tokens. */
  storageKey?: string;
  /** Seconds before its expiry at which a token is refreshed, at most a third of its life. Default 300. */
  refreshLead?: number;
  /** Seconds between two looks at the server, by one visible tab. Default 300. */
  validateEvery?: number;
  activity?: false | ActivityOptions;
  /** Overrides what the browser says of itself. */
  device?: Partial<Device>;
  /** Whether to hear at once of a session that ends elsewhere. Default true. */
  events?: boolean;
  /** The session that the server rendered the page for. */
  initialSession?: Session;
  /** Writes state and events, never tokens, to the console. */
  debug?: boolean;
}

export interface TokenOptions {
  /** Seconds the token must still live. Default 5; at most half of a token's life. */
  minTtl?: number;
  /** Refresh even if the token is good. */
  force?: boolean;
  signal?: AbortSignal;
}

export interface AuthClient {
  /** The first state that is not "loading". */
  readonly ready: Promise<AuthState>;
  getState(): AuthState;
  /** The state of the page as the server rendered it. */
  getServerState(): AuthState;
  /** Calls the listener after each change of the state. Returns what ends that. */
  subscribe(listener: () => void): () => void;
  on<E extends keyof Events>(event: E, handler: (detail: Events[E]) => void): () => void;
  sendCode(to: { phone: string; channel?: string }): Promise<Challenge>;
  /** Sends the same code once more. */
  resendCode(challenge: Challenge): Promise<Challenge>;
  verifyCode(challenge: Challenge, code: string): Promise<Session>;
  /** null when nobody is signed in, and with the cookie transport. Rejects when a new token is needed and cannot be had. */
  getAccessToken(options?: TokenOptions): Promise<string | null>;
  /** fetch with the session, for this origin only. A 401 of Sidegate leads to one refresh and one more try. */
  fetch: typeof fetch;
  /** Asks the server whether the session lives. */
  validate(): Promise<AuthState>;
  /** Tells the server that the user is active. */
  touch(): Promise<void>;
  /** Signs out here at once; the server hears of it now or, offline, later. */
  logout(options?: { scope?: "session" | "others" | "all" }): Promise<void>;
  sessions: {
    list(): Promise<SessionInfo[]>;
    revoke(sessionID: string): Promise<void>;
    revokeOthers(): Promise<void>;
  };
  updateDevice(device: Partial<Device>): Promise<Device>;
  /** Runs timers and listeners until the returned function is called. In a browser they run from the beginning; once is enough. */
  start(): () => void;
  /** Stops everything for good. */
  destroy(): void;
}
