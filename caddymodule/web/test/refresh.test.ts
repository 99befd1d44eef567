import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { begin, end, open, pass, settle, signIn, sleep, stored, tellStorage, world, type Tab, type Weather } from "./world.js";

beforeEach(() => void begin());
afterEach(end);

const refreshes = (): number => world.server.count("/refresh");

const signedIn = async (ttl = 900, options = {}): Promise<Tab> => {
  world.server.ttl = ttl;
  const tab = await open(options);
  await signIn(tab);
  return tab;
};

describe("when to refresh", () => {
  const table: [name: string, ttl: number, seconds: number, least: number, most: number][] = [
    ["a token of 2 s, for a minute", 2, 60, 29, 60],
    ["a token of 60 s, for ten minutes", 60, 600, 14, 17],
    ["a token of 300 s, for an hour", 300, 3600, 17, 20],
    ["a token of 15 min, for an hour", 900, 3600, 5, 7],
    ["a token of 30 d, for two hours", 30 * 86400, 7200, 0, 0],
  ];
  for (const [name, ttl, seconds, least, most] of table) {
    it(name, async () => {
      const tab = await signedIn(ttl);
      await pass(seconds);
      expect(refreshes()).toBeGreaterThanOrEqual(least);
      expect(refreshes()).toBeLessThanOrEqual(most);
      expect(tab.client.getState()).toMatchObject({ status: "authenticated", offline: false });
      expect(tab.events).not.toContain("refresh-failed");
    });
  }

  it("a token that has no life left does not make a loop", async () => {
    const tab = await signedIn(0);
    await pass(10);
    expect(refreshes()).toBeLessThanOrEqual(21);
    expect(tab.client.getState().status).toBe("authenticated");
  });

  it("30 days are not over at once", async () => {
    await signedIn(30 * 86400);
    await pass(60);
    sleep(30 * 86400 - 200);
    await pass(6);
    expect(refreshes()).toBe(1);
  });

  it("after 8 h of sleep, once for all tabs", async () => {
    await signedIn();
    const others = [await open(), await open()];
    sleep(8 * 3600);
    window.dispatchEvent(new Event("focus"));
    await pass(6);
    expect(refreshes()).toBe(1);
    for (const { client } of [...world.tabs, ...others]) expect(client.getState().status).toBe("authenticated");
  });

  for (const [name, seconds] of [["ahead", 3600], ["back", -3600]] as const) {
    it(`a clock set ${name} by an hour costs one refresh`, async () => {
      const tab = await signedIn();
      sleep(seconds);
      await pass(30);
      expect(refreshes()).toBe(1);
      expect(tab.client.getState()).toMatchObject({ status: "authenticated", offline: false });
      await pass(400);
      expect(refreshes()).toBe(1);
    });

    it(`a clock that was always ${name} by an hour costs nothing`, async () => {
      vi.setSystemTime(Date.now() + seconds * 1000);
      await signedIn();
      await pass(400);
      expect(refreshes()).toBe(0);
    });
  }
});

describe("getAccessToken", () => {
  it("gives what there is while it is good, and renews it when it is not", async () => {
    const tab = await signedIn();
    const first = await settle(tab.client.getAccessToken());
    expect(await settle(tab.client.getAccessToken({ minTtl: 60 }))).toBe(first);
    expect(refreshes()).toBe(0);
    expect(await settle(tab.client.getAccessToken({ force: true }))).not.toBe(first);
    expect(refreshes()).toBe(1);
    sleep(901);
    expect(await settle(Promise.all([1, 2, 3].map(() => tab.client.getAccessToken())))).toHaveLength(3);
    expect(refreshes()).toBe(2);
  });

  it("asked for more than a token lives, does not refresh each time", async () => {
    const tab = await signedIn(60);
    for (let i = 0; i < 5; i++) await settle(tab.client.getAccessToken({ minTtl: 3600 }), 0.01);
    expect(refreshes()).toBe(0);
  });

  it("is null when nobody is signed in, and rejects when the server cannot be asked", async () => {
    const tab = await open();
    expect(await tab.client.getAccessToken()).toBeNull();
    await signIn(tab);
    world.server.weather = "down";
    sleep(901);
    await expect(settle(tab.client.getAccessToken())).rejects.toMatchObject({ code: "unreachable" });
    expect(tab.client.getState()).toMatchObject({ status: "authenticated", offline: true });
  });

  it("stops waiting when it is told to, and the refresh goes on", async () => {
    const tab = await signedIn();
    world.server.before = () => new Promise((resolve) => setTimeout(resolve, 1000));
    const stop = new AbortController();
    const token = tab.client.getAccessToken({ force: true, signal: stop.signal });
    token.catch(() => {});
    await pass(0.5);
    stop.abort();
    await expect(token).rejects.toMatchObject({ name: "AbortError" });
    await pass(1);
    expect(tab.events).toContain("token-refreshed");
  });
});

describe("trouble keeps the session", () => {
  const table: [name: string, weather: Weather][] = [
    ["no network", "down"],
    ["500", 500],
    ["503", 503],
    ["an HTML page with 200", "html"],
    ["no answer", "hangs"],
    ["429", 429],
  ];
  for (const [name, weather] of table) {
    it(name, async () => {
      const tab = await signedIn(60);
      world.server.weather = weather;
      await pass(600);
      expect(tab.client.getState()).toMatchObject({ status: "authenticated", offline: true });
      expect(refreshes()).toBeGreaterThan(5);
      expect(world.server.calls.length).toBeLessThan(60); // no loop
      world.server.weather = "fine";
      await pass(60);
      expect(tab.client.getState()).toMatchObject({ status: "authenticated", offline: false });
    });
  }

  it("waits as long as Retry-After says, also in other tabs and after a reload", async () => {
    const tab = await signedIn(60);
    Object.assign(world.server, { weather: 429, retryAfter: "120" });
    await pass(60);
    expect(refreshes()).toBe(1);
    await expect(settle(tab.client.getAccessToken({ force: true }))).rejects.toMatchObject({ code: "rate_limited", retryAfter: 120 });
    const other = await open();
    await pass(50);
    expect(refreshes()).toBeLessThanOrEqual(2);
    expect(other.client.getState()).toMatchObject({ status: "authenticated", offline: true });
    Object.assign(world.server, { weather: "fine" });
    await pass(120);
    expect(tab.client.getState()).toMatchObject({ offline: false });
  });

  it("reads Retry-After as a date, and does not wait for years", async () => {
    const tab = await signedIn(60);
    Object.assign(world.server, { weather: 503, retryAfter: "Fri, 01 Jan 2099 00:00:00 GMT" });
    await pass(60);
    Object.assign(world.server, { weather: "fine" });
    await pass(3600);
    expect(tab.client.getState()).toMatchObject({ offline: false });
  });

  it("tries at once when the network is back", async () => {
    const tab = await signedIn(60);
    world.server.weather = "down";
    await pass(500);
    world.server.weather = "fine";
    window.dispatchEvent(new Event("online"));
    await pass(0.5);
    expect(tab.client.getState()).toMatchObject({ offline: false });
  });

  it("an expired token at the start shows nothing until the server has answered", async () => {
    (await signedIn()).client.destroy();
    sleep(3600);
    world.server.before = () => new Promise((resolve) => setTimeout(resolve, 1000));
    const tab = await open();
    expect(tab.client.getState()).toEqual({ status: "loading" });
    await pass(2);
    expect(tab.client.getState().status).toBe("authenticated");
  });

  it("an expired token at the start without a network is a session offline", async () => {
    (await signedIn()).client.destroy();
    sleep(3600);
    world.server.weather = "down";
    expect((await open()).client.getState()).toMatchObject({ status: "authenticated", offline: true });
  });

  it("a refusal that is not Sidegate's is none", async () => {
    const tab = await signedIn(60);
    const real = world.server.fetch.bind(world.server);
    vi.stubGlobal("fetch", async (input: RequestInfo, init?: RequestInit) => {
      const answer = await real(input, init);
      return String(input).includes("/refresh") ? new Response('{"code":"session_revoked"}', { status: 400 }) : answer;
    });
    await pass(120);
    expect(tab.client.getState()).toMatchObject({ status: "authenticated", offline: true });
  });

  it("a verdict signs out, once, with the reason", async () => {
    const tab = await signedIn(60);
    world.server.sessions[0]!.end = "revoked";
    await pass(120);
    expect(tab.client.getState()).toEqual({ status: "unauthenticated", reason: "revoked" });
    expect(tab.events.filter((event) => event === "signed-out")).toHaveLength(1);
    expect(refreshes()).toBe(1);
  });
});

describe("several tabs", () => {
  it("make one refresh of an expired token", async () => {
    await signedIn();
    for (let i = 0; i < 5; i++) await open();
    sleep(901);
    const tokens = await settle(Promise.all(world.tabs.map(({ client }) => client.getAccessToken())), 3);
    expect(new Set(tokens).size).toBe(1);
    expect(refreshes()).toBe(1);
  });

  it("wait for a write that they cannot see yet", async () => {
    const tab = await signedIn();
    const other = await open();
    const [old, setItem] = [localStorage.getItem("auth_tokens")!, localStorage.setItem.bind(localStorage)];
    sleep(901);
    // What one tab writes is seen by none for 300 ms.
    const hidden = vi.spyOn(localStorage, "setItem").mockImplementation((key, value) => {
      if (key === "auth_tokens") setTimeout(() => setItem(key, value), 300);
      else setItem(key, value);
    });
    const both = [tab, other].map(({ client }) => client.getAccessToken());
    await pass(0.2);
    expect(localStorage.getItem("auth_tokens")).toBe(old);
    const [one, two] = await settle(Promise.all(both), 1);
    hidden.mockRestore();
    expect(one).toBe(two);
    expect(refreshes()).toBe(1);
  });

  it("take the lock from one that stands still, which cannot overwrite when it wakes", async () => {
    const frozen = await signedIn();
    const other = await open();
    sleep(901);
    let wake = (): void => {};
    world.server.before = () => new Promise((resolve) => (wake = resolve));
    vi.spyOn(world.server, "fetch");
    const late = frozen.client.getAccessToken({ force: true }).catch((error: unknown) => error);
    await pass(0.1);
    world.server.before = () => {};
    // The frozen tab's refresh never got through; its answer is of another time.
    world.server.sessions[0]!.generation = 1;
    const token = await settle(other.client.getAccessToken(), 10);
    expect(token).toMatch(/^access\.s1\.2/);
    const kept = localStorage.getItem("auth_tokens");
    wake();
    await settle(late, 5);
    expect(localStorage.getItem("auth_tokens")).toBe(kept);
  });

  it("without Web Locks ask one after the other, and keep what is newest", async () => {
    world.locks = undefined;
    const tab = await signedIn();
    const other = await open();
    sleep(901);
    await settle(tab.client.getAccessToken());
    tellStorage("auth_tokens", localStorage.getItem("auth_tokens"));
    await settle(other.client.getAccessToken());
    expect(refreshes()).toBe(1);
  });

  it("put back what a late writer overwrote", async () => {
    const tab = await signedIn();
    const old = localStorage.getItem("auth_tokens")!;
    await settle(tab.client.getAccessToken({ force: true }));
    const now = localStorage.getItem("auth_tokens");
    localStorage.setItem("auth_tokens", old);
    tellStorage("auth_tokens", old);
    expect(localStorage.getItem("auth_tokens")).toBe(now);
    expect(stored().refresh_token).toBe("refresh.s1.2");
  });
});
