import { ask, authedFetch, getAccessToken, validate } from "./access.js";
import { beginActivity, checkActivity, noteActivity, once, report, watchActivity } from "./activity.js";
import { call } from "./api.js";
import { describeDevice } from "./device.js";
import { followEvents } from "./events.js";
import { deliver, notify, signOut } from "./outbox.js";
import { dueAt, good, heardEnd, refresh, retryAt, show, signIn, sync, syncSoon } from "./session.js";
import { reduce } from "./state.js";
import { set } from "./storage.js";
import { hear } from "./tabs.js";
import { listen, startTicker, visible } from "./timers.js";
import type { AuthClient, AuthClientOptions, AuthState, Challenge, Device, Session, SessionInfo } from "./types.js";
import { dispatch, on, type World } from "./world.js";

/** Makes the client of this tab. One is enough for an app; in a browser it works from here on. */
export const createAuthClient = (options: AuthClientOptions = {}): AuthClient => {
  const { api = "/api/v1/auth", transport, storageKey = "auth_tokens", initialSession } = options;
  const initial = reduce({ status: "loading" }, { session: initialSession });
  const bearer = transport !== "cookie";
  let settle!: (state: AuthState) => void;
  const ready = new Promise<AuthState>((resolve) => (settle = resolve));
  if (initialSession) settle(initial);
  const w: World = {
    settings: options, standing: initial, bearer, apiBase: api,
    cookies: bearer ? "omit" : "same-origin", // beside a token the cookie would be a second credential: the server refuses two
    handlers: new Set(), settle,
    tokensKey: storageKey, keyBase: storageKey.replace(/(_?tokens)?$/, "_"), unwritten: new Map(),
    leadMs: 0, ended: new Set(), failures: 0,
  };
  return {
    ready,
    getState: () => w.standing,
    getServerState: () => initial,
    subscribe: (listener) => on(w, "", listener),
    on: (event, handler) => on(w, event, handler),
    sendCode: (to) => sendCode(w, to),
    resendCode: (challenge) => sendCode(w, challenge),
    verifyCode: (challenge, code) => verifyCode(w, challenge, code),
    getAccessToken: (wanted) => getAccessToken(w, wanted),
    fetch: (input, init) => authedFetch(w, input, init),
    validate: () => validate(w),
    touch() {
      noteActivity(w);
      return report(w, 0);
    },
    async logout({ scope = "session" } = {}) {
      await (scope === "others" ? ask(w, "POST", "/logout", { scope }) : signOut(w, "logout", scope));
    },
    sessions: {
      list: async () => (await ask<{ sessions: SessionInfo[] }>(w, "GET", "/sessions")).sessions,
      async revoke(id) {
        await ask(w, "DELETE", "/sessions/" + encodeURIComponent(id));
        await validate(w); // it may have been this one
      },
      revokeOthers: () => ask(w, "DELETE", "/sessions"),
    },
    updateDevice: (device) => ask<Device>(w, "PUT", "/device", device),
    ...lifecycle(w),
  };
};

/** Sends a code, or the one of a challenge again. */
const sendCode = async (w: World, to: { phone: string }): Promise<Challenge> => ({
  ...(await call<Challenge>(w, "POST", "/otp", to)),
  phone: to.phone,
});

const verifyCode = async (w: World, { challenge_id }: Challenge, code: string): Promise<Session> => {
  const device = await describeDevice(w);
  const answer = await call<object>(w, "POST", "/otp/verify", { challenge_id, code, device, transport: w.settings.transport });
  const before = w.kept;
  const session = signIn(w, answer);
  beginActivity(w);
  // The former session is nobody's any more. The cookie's is gone with the cookie: what waited would end this one.
  if (!w.bearer) set(w, "logout");
  else if (before) notify(w, before);
  void deliver(w);
  return session;
};

/** Finds the session that this browser had. */
const recover = async (w: World): Promise<void> => {
  sync(w);
  await null; // time to attach handlers
  if (w.bearer) {
    // An expired token shows nothing until the server has said that the session lives, or cannot be reached.
    if (!good(w)) await refresh(w);
    if (w.standing.status === "loading" || !w.kept) show(w);
  } else if (await deliver(w)) await validate(w);
  else show(w); // signed out, though the cookie does not know it yet
};

const tick = (w: World): void => {
  sync(w);
  checkActivity(w);
  const { standing, settings } = w;
  if (Date.now() < retryAt(w)) return;
  void deliver(w);
  if (standing.status === "unauthenticated") return;
  // While nothing is known, as often as trouble() allows.
  const every = "offline" in standing && !standing.offline ? (settings.validateEvery ?? 300) : 0;
  if (dueAt(w) <= Date.now()) void refresh(w);
  else if (visible()) void once(w, "seen_at", every, () => validate(w));
};

/** Attaches everything that runs by itself. Returns what ends that. */
const mount = (w: World): (() => void) => {
  const { activity, events } = w.settings;
  const stops = [
    listen<StorageEvent>(["storage"], ({ key, newValue }) => {
      if (key !== null && key !== w.tokensKey) return;
      if (newValue) sync(w);
      else syncSoon(w, key ? "other-tab" : "storage");
    }),
    hear(w, ({ out, why }) => {
      if (out) heardEnd(w, out, why);
      else if (!w.bearer) void validate(w);
    }),
    listen(["offline"], () => dispatch(w, { offline: true })),
    listen(["online"], () => {
      set(w, "retry_at");
      tick(w);
    }),
    startTicker(
      () => tick(w),
      () => Math.max(dueAt(w), retryAt(w)),
    ),
    activity !== false && watchActivity(w),
    events !== false && followEvents(w),
  ];
  return () => stops.forEach((stop) => stop && stop());
};

const lifecycle = (w: World): Pick<AuthClient, "start" | "destroy"> => {
  let stop: (() => void) | undefined;
  let over = typeof window === "undefined";
  const halt = (): void => {
    stop?.();
    stop = undefined;
  };
  const start = (): (() => void) => {
    if (!over) stop ??= mount(w);
    return halt;
  };
  if (!over) void recover(w);
  start();
  return {
    start,
    destroy() {
      over = true;
      halt();
      w.handlers.clear();
    },
  };
};
