import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { begin, end, open, pass, settle, signIn, sleep, stored, tellStorage, world } from "./world.js";

beforeEach(() => void begin());
afterEach(end);

/** Makes every use of localStorage go through these. */
const withStorage = (storage: unknown): void => void vi.stubGlobal("localStorage", storage);

const forbidden = (): never => {
  throw new DOMException("denied", "SecurityError");
};

describe("a storage that", () => {
  const table: [name: string, storage: unknown][] = [
    ["is null", null],
    ["throws", { getItem: forbidden, setItem: forbidden, removeItem: forbidden }],
    ["is full from the beginning", { getItem: () => null, setItem: forbidden, removeItem: () => {} }],
  ];
  for (const [name, storage] of table) {
    it(`${name} leaves the session to this tab`, async () => {
      withStorage(storage);
      const tab = await open();
      expect(tab.client.getState()).toEqual({ status: "unauthenticated" });
      const challenge = await settle(tab.client.sendCode({ phone: "+46701234567" }));
      await settle(tab.client.verifyCode(challenge, "123456"));
      await pass(2000);
      expect(tab.client.getState()).toMatchObject({ status: "authenticated", offline: false });
      expect(tab.events.filter((event) => event === "storage-unavailable")).toHaveLength(1);
      expect(world.server.count("/refresh")).toBeGreaterThanOrEqual(2);
      expect(world.server.calls.length).toBeLessThan(40); // no loop
      await settle(tab.client.logout());
      expect(tab.client.getState()).toEqual({ status: "unauthenticated", reason: "logout" });
      expect(world.server.sessions[0]?.end).toBe("logout");
    });
  }

  it("cannot be reached at all does not stop the page", async () => {
    const own = Object.getOwnPropertyDescriptor(globalThis, "localStorage")!;
    Object.defineProperty(globalThis, "localStorage", { get: forbidden, configurable: true });
    try {
      expect((await open()).client.getState()).toEqual({ status: "unauthenticated" });
    } finally {
      Object.defineProperty(globalThis, "localStorage", own);
    }
  });

  it("becomes full still takes the next tokens in place of the old ones", async () => {
    const tab = await open();
    await signIn(tab);
    const real = localStorage;
    withStorage({
      getItem: (key: string) => real.getItem(key),
      removeItem: (key: string) => real.removeItem(key),
      setItem: (key: string, value: string) => (real.getItem(key) !== null && key === "auth_tokens" ? forbidden() : real.setItem(key, value)),
    });
    await settle(tab.client.getAccessToken({ force: true }));
    expect(stored().refresh_token).toBe("refresh.s1.2");
    expect(tab.events).not.toContain("storage-unavailable");
  });

  it("is cleared signs out", async () => {
    const [tab, other] = [await open(), await open()];
    await signIn(tab);
    tellStorage("auth_tokens", localStorage.getItem("auth_tokens"));
    localStorage.clear();
    tellStorage(null, null);
    await pass(6);
    for (const { client } of [tab, other]) expect(client.getState()).toEqual({ status: "unauthenticated", reason: "storage" });
  });

  it("is rewritten by removing first does not sign out", async () => {
    const [tab, other] = [await open(), await open()];
    await signIn(tab);
    const text = localStorage.getItem("auth_tokens")!;
    tellStorage("auth_tokens", text);
    tellStorage("auth_tokens", null); // the value is there again by the time this is handled
    await pass(1);
    expect(other.client.getState().status).toBe("authenticated");
  });

  const good = { access_token: "a", refresh_token: "r", expires_in: 900, auth_user_id: 1, user_roles: [], session_id: "s", generation: 1, received_at: 1 };
  const rubbish: [name: string, text: string][] = [
    ["no JSON", "{"],
    ["null", "null"],
    ["a number", "7"],
    ["a list", "[]"],
    ["no tokens", JSON.stringify({ ...good, access_token: undefined })],
    ["a token that is no header", JSON.stringify({ ...good, access_token: "a\nb: c" })],
    ["no roles", JSON.stringify({ ...good, user_roles: "admin" })],
    ["no age", JSON.stringify({ ...good, received_at: null, expires_in: undefined })],
  ];
  for (const [name, text] of rubbish) {
    it(`holds rubbish (${name}) at the start is cleaned`, async () => {
      localStorage.setItem("auth_tokens", text);
      const tab = await open();
      expect(tab.client.getState()).toEqual({ status: "unauthenticated" });
      expect(localStorage.getItem("auth_tokens")).toBeNull();
      expect(world.server.calls).toEqual([]);
    });

    it(`gets rubbish (${name}) later signs out`, async () => {
      const tab = await open();
      await signIn(tab);
      localStorage.setItem("auth_tokens", text);
      tellStorage("auth_tokens", text);
      expect(tab.client.getState()).toEqual({ status: "unauthenticated", reason: "storage" });
      expect(localStorage.getItem("auth_tokens")).toBeNull();
    });
  }

  it("holds rubbish under the other keys does no harm", async () => {
    for (const [name, text] of Object.entries({ device_id: "ü".repeat(99), retry_at: "soon", logout: "]", active_at: "-1", sent_at: "x", seen_at: "9e99" })) {
      localStorage.setItem("auth_" + name, text);
    }
    const tab = await open();
    await signIn(tab);
    await pass(120);
    expect(tab.client.getState()).toMatchObject({ status: "authenticated", offline: false });
    expect(localStorage.getItem("auth_device_id")).toMatch(/^[0-9a-z]+$/);
    expect(world.server.calls.length).toBeLessThan(20);
  });
});

it("a storageKey of the app's own keeps two clients apart", async () => {
  const [one, two] = [await open({ storageKey: "shop" }), await open()];
  await signIn(one);
  expect(Object.keys({ ...localStorage }).filter((key) => key.startsWith("shop")).sort()).toEqual(expect.arrayContaining(["shop", "shop_device_id", "shop_session_id"]));
  tellStorage("shop", localStorage.getItem("shop"));
  await pass(1);
  expect(two.client.getState().status).toBe("unauthenticated");
});

it("a device keeps its id over a sign-out", async () => {
  const tab = await open();
  await signIn(tab);
  const id = localStorage.getItem("auth_device_id");
  await settle(tab.client.logout());
  sleep(1);
  await signIn(tab);
  expect(localStorage.getItem("auth_device_id")).toBe(id);
  expect(world.server.calls.filter(({ path }) => path === "/otp/verify").map(({ body }) => (body.device as { device_id: string }).device_id)).toEqual([id, id]);
});
