// A browser and a server for the tests of the client: several tabs share one storage, one set of locks and one clock.
import { vi } from "vitest";
import { createAuthClient, type AuthClient, type AuthClientOptions, type Events } from "../client/index.js";

/** Web Locks as the specification has them, for tabs with ids of their own. */
export class Locks {
  private held: { name: string; mode: LockMode; clientId: string; end(error?: Error): void }[] = [];
  private waiting: { name: string; mode: LockMode; grant(): void }[] = [];

  tab(clientId: string): LockManager {
    return {
      query: async () => ({ held: this.held.map(({ name, mode, clientId }) => ({ name, mode, clientId })), pending: [] }),
      request: (name: string, a: LockOptions | ((lock: Lock | null) => unknown), b?: (lock: Lock | null) => unknown) =>
        typeof a === "function" ? this.request(clientId, name, {}, a) : this.request(clientId, name, a, b!),
    } as LockManager;
  }

  private request(clientId: string, name: string, options: LockOptions, run: (lock: Lock | null) => unknown): Promise<unknown> {
    const mode = options.mode ?? "exclusive";
    const free = (): boolean => !this.held.some((lock) => lock.name === name && (mode === "exclusive" || lock.mode === "exclusive"));
    return new Promise((resolve, reject) => {
      const grant = (): void => {
        const lock = {
          name, mode, clientId,
          end: (error?: Error) => {
            this.held = this.held.filter((one) => one !== lock);
            if (error) reject(error);
            this.next();
          },
        };
        this.held.push(lock);
        void Promise.resolve()
          .then(() => run({ name, mode }))
          .then(resolve, reject)
          .finally(() => this.held.includes(lock) && lock.end());
      };
      if (options.signal?.aborted) return reject(new DOMException("aborted", "AbortError"));
      if (options.steal) for (const lock of this.held.filter((one) => one.name === name)) lock.end(new DOMException("stolen", "AbortError"));
      if (options.steal || free()) return grant();
      if (options.ifAvailable) return void Promise.resolve(run(null)).then(resolve, reject);
      const entry = { name, mode, grant };
      this.waiting.push(entry);
      options.signal?.addEventListener("abort", () => {
        this.waiting = this.waiting.filter((one) => one !== entry);
        reject(options.signal!.reason as DOMException);
      });
    });
  }

  private next(): void {
    for (const entry of [...this.waiting]) {
      const blocked = this.held.some((lock) => lock.name === entry.name && (entry.mode === "exclusive" || lock.mode === "exclusive"));
      if (blocked) continue;
      this.waiting = this.waiting.filter((one) => one !== entry);
      entry.grant();
    }
  }
}

interface ServerSession {
  id: string;
  user: number;
  generation: number;
  end?: string;
}

/** How the network and what stands in it behave. */
export type Weather = "fine" | "down" | "hangs" | "html" | number;

/** Sidegate, strict: a refresh token works once. */
export class Server {
  ttl = 900;
  weather: Weather = "fine";
  retryAfter: string | undefined;
  calls: { method: string; path: string; body: Record<string, unknown>; token: string | null; at: number }[] = [];
  sessions: ServerSession[] = [];
  cookie: ServerSession | undefined;
  user = 1;
  /** How many requests for a code are answered with work to do, and how much. */
  puzzles = 0;
  bits = 8;
  /** Answers for paths outside the API. */
  app: (request: Request) => Promise<Response> | Response = () => new Response("ok");
  events: (signal: AbortSignal) => Promise<Response> | Response = () => problem(404, "not_found");
  /** Called before an answer of the API leaves. */
  before: (path: string) => Promise<void> | void = () => {};

  count(path: string): number {
    return this.calls.filter((call) => call.path === path).length;
  }
  readonly fetch = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const request = input instanceof Request ? input : new Request(new URL(String(input), location.href), init);
    const { method, headers } = request;
    const signal = init?.signal ?? request.signal;
    const { pathname } = new URL(request.url);
    const token = headers.get("Authorization")?.replace("Bearer ", "") ?? null;
    if (!pathname.startsWith("/api/v1/auth")) return this.app(request);
    const path = pathname.replace("/api/v1/auth", "");
    if (path === "/events") return this.events(signal);
    const text = await request.text();
    const body = text ? (JSON.parse(text) as Record<string, unknown>) : {};
    this.calls.push({ method, path, body, token, at: Date.now() });
    const answer = (await this.storm(signal)) ?? this.answer(method, path, body, token);
    await this.before(path);
    return answer;
  };
  private async storm(signal: AbortSignal | null | undefined): Promise<Response | undefined> {
    const { weather } = this;
    if (weather === "fine") return;
    if (weather === "down") throw new TypeError("Failed to fetch");
    if (weather === "hangs") {
      return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError"))));
    }
    if (weather === "html") return new Response("<!doctype html><title>Log in to this wireless network</title>", { status: 200 });
    return problem(weather, weather === 429 ? "rate_limited" : "store_unavailable", this.retryAfter ? { "Retry-After": this.retryAfter } : {});
  }
  grant(session: ServerSession, cookie = false): Record<string, unknown> {
    return {
      ...(cookie ? {} : { access_token: `access.${session.id}.${session.generation}.${Date.now()}`, refresh_token: `refresh.${session.id}.${session.generation}` }),
      expires_in: this.ttl, auth_user_id: session.user, user_type: "customer", session_id: session.id, user_roles: ["customer"],
      token_type: "Bearer", session_expires_at: "2027-01-01T00:00:00Z", device_id: "d", is_new_user: false, server_time: new Date().toISOString(),
    };
  }
  private byToken(token: string | null): ServerSession | undefined {
    return token ? this.sessions.find((session) => session.id === token.split(".")[1]) : this.cookie;
  }
  private answer(method: string, path: string, body: Record<string, unknown>, token: string | null): Response {
    switch (path) {
      case "/otp":
        if (this.puzzles-- > 0) {
          const proof_of_work = { challenge: "challenge" + this.puzzles, bits: this.bits };
          return problem(429, "rate_limited", { "Retry-After": "60" }, { proof_of_work });
        }
        return json(202, { challenge_id: "c1", expires_in: 300, resend_after: 60, code_length: 6, channel: "sms" });
      case "/otp/verify": {
        if (body.code !== "123456") return problem(400, "otp_invalid", {}, { attempts_left: 4 });
        const session = { id: "s" + (this.sessions.length + 1), user: this.user, generation: 1 };
        this.sessions.push(session);
        if (body.transport === "cookie") this.cookie = session;
        return json(200, this.grant(session, body.transport === "cookie"));
      }
      case "/refresh": {
        const [, id, generation] = String(body.refresh_token).split(".");
        const session = this.sessions.find((one) => one.id === id);
        if (!session) return problem(400, "refresh_token_invalid");
        if (session.end) return problem(400, "session_revoked");
        if (Number(generation) !== session.generation) {
          session.end = "reused";
          return problem(400, "refresh_token_reused");
        }
        session.generation++;
        return json(200, this.grant(session));
      }
      case "/logout": {
        const session = this.byToken(String(body.refresh_token ?? "") || token);
        if (session && body.scope !== "others") session.end ??= "logout";
        if (body.scope !== "others" && session === this.cookie) this.cookie = undefined;
        return new Response(null, { status: 204 });
      }
    }
    const session = this.byToken(token);
    if (!session) return problem(401, token ? "token_invalid" : "token_missing");
    if (path === "/session") return json(200, { session_id: session.id, auth_user_id: session.user, device_id: "d", is_active: !session.end, end_reason: session.end, expires_at: "2027-01-01T00:00:00Z" });
    if (session.end) return problem(401, "session_revoked");
    if (path === "/user") return json(200, { auth_user_id: session.user, user_type: "customer", user_roles: ["customer"], phone: "**45" });
    if (path === "/sessions" && method === "GET") return json(200, { sessions: [] });
    if (path === "/device") return json(200, body);
    if (method === "DELETE" && path === "/sessions/" + session.id) session.end = "revoked";
    return new Response(null, { status: 204 });
  }
}

export const json = (status: number, body: unknown): Response => new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });

export const problem = (status: number, code: string, headers: Record<string, string> = {}, more: object = {}): Response =>
  new Response(JSON.stringify({ type: "urn:sidegate:problem:" + code, title: code, status, detail: code + ".", code, ...more }), {
    status, headers: { "Content-Type": "application/problem+json", "Sidegate-Error": code, ...headers },
  });

export interface Tab {
  client: AuthClient;
  events: string[];
  details: { [E in keyof Events]?: Events[E] };
}

export const world = { server: new Server(), locks: new Locks() as Locks | undefined, tabs: [] as Tab[] };

/** A fresh browser at noon. Time moves only when a test says so. */
export const begin = (): typeof world => {
  vi.useFakeTimers({ now: Date.parse("2026-06-01T12:00:00Z") });
  localStorage.clear();
  Object.assign(world, { server: new Server(), locks: new Locks(), tabs: [] });
  vi.stubGlobal("fetch", (input: RequestInfo | URL, init?: RequestInit) => world.server.fetch(input, init));
  vi.stubGlobal("BroadcastChannel", Channel);
  vi.spyOn(AbortSignal, "timeout").mockImplementation(timeoutSignal);
  setVisible(true);
  return world;
};

export const end = (): void => {
  for (const { client } of world.tabs) client.destroy();
  Channel.all.clear();
  vi.useRealTimers();
  vi.unstubAllGlobals();
};

/** AbortSignal.timeout by the fake clock. */
const timeoutSignal = (ms: number): AbortSignal => {
  const end = new AbortController();
  setTimeout(() => end.abort(new DOMException("timed out", "TimeoutError")), ms);
  return end.signal;
};

/** A BroadcastChannel that delivers with the fake clock. */
class Channel {
  static all = new Set<Channel>();
  onmessage: ((event: { data: unknown }) => void) | null = null;
  constructor(readonly name: string) {
    Channel.all.add(this);
  }
  postMessage(data: unknown): void {
    const text = JSON.stringify(data);
    for (const other of Channel.all) {
      if (other !== this && other.name === this.name) setTimeout(() => Channel.all.has(other) && other.onmessage?.({ data: JSON.parse(text) }), 1);
    }
  }
  close(): void {
    Channel.all.delete(this);
  }
}

export const setVisible = (visible: boolean): void => {
  Object.defineProperty(document, "visibilityState", { value: visible ? "visible" : "hidden", configurable: true });
  if (visible) window.dispatchEvent(new Event("focus"));
};

/** Opens a tab. */
export const open = async (options: AuthClientOptions = {}): Promise<Tab> => {
  const id = "tab" + world.tabs.length;
  Object.defineProperty(navigator, "locks", { value: world.locks?.tab(id), configurable: true });
  const client = createAuthClient(options);
  const tab: Tab = { client, events: [], details: {} };
  world.tabs.push(tab);
  for (const event of ["signed-in", "signed-out", "user-switched", "token-refreshed", "refresh-failed", "validated", "idle-warning", "storage-unavailable"] as const) {
    client.on(event, (detail) => {
      tab.events.push(event);
      Object.assign(tab.details, { [event]: detail });
    });
  }
  await pass(0.05);
  return tab;
};

/** Lets seconds pass, with all that is due in them. */
export const pass = async (seconds: number): Promise<void> => void (await vi.advanceTimersByTimeAsync(seconds * 1000));

/** The machine sleeps: the clock moves and no timer runs. */
export const sleep = (seconds: number): void => void vi.setSystemTime(Date.now() + seconds * 1000);

export const signIn = async (tab: Tab): Promise<void> => {
  const challenge = await settle(tab.client.sendCode({ phone: "+46701234567" }));
  await settle(tab.client.verifyCode(challenge, "123456"));
  tab.events.length = 0;
};

/** Waits for a promise while time passes. */
export const settle = async <T>(promise: Promise<T>, seconds = 0.2): Promise<T> => {
  promise.catch(() => {});
  await pass(seconds);
  return promise;
};

export const stored = (): Record<string, unknown> => JSON.parse(localStorage.getItem("auth_tokens") ?? "{}") as Record<string, unknown>;

/** What the browser tells the other tabs of a write. */
export const tellStorage = (key: string | null, newValue: string | null): void =>
  void window.dispatchEvent(Object.assign(new Event("storage"), { key, newValue }));
