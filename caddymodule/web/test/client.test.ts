import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AuthError } from "../client/index.js";
import { begin, end, open, pass, settle, signIn, stored, tellStorage, world } from "./world.js";

beforeEach(() => void begin());
afterEach(end);

describe("signing in", () => {
  it("keeps the tokens where the contract says, and none in the state", async () => {
    const tab = await open();
    expect(tab.client.getState()).toEqual({ status: "unauthenticated" });
    const challenge = await settle(tab.client.sendCode({ phone: "+46701234567" }));
    const session = await settle(tab.client.verifyCode(challenge, "123456"));
    expect(session).toMatchObject({ session_id: "s1", auth_user_id: 1, user_roles: ["customer"] });
    expect(tab.client.getState()).toEqual({ status: "authenticated", session, offline: false });
    expect(tab.events).toEqual(["signed-in"]);
    expect(stored()).toMatchObject({ refresh_token: "refresh.s1.1", received_at: Date.now() - 200 });
    expect(stored().generation).toBeTypeOf("number");
    expect(localStorage.getItem("auth_session_id")).toBe("s1");
    expect(localStorage.getItem("auth_device_id")).toMatch(/^[0-9a-z]{16,32}$/);
    expect(JSON.stringify(tab.client.getState()) + JSON.stringify(tab.details)).not.toMatch(/access\.|refresh\./);
  });

  it("tells what is wrong with a code", async () => {
    const tab = await open();
    const challenge = await settle(tab.client.sendCode({ phone: "+46701234567" }));
    const wrong = await settle(tab.client.verifyCode(challenge, "000000").catch((error: unknown) => error));
    expect(wrong).toBeInstanceOf(AuthError);
    expect(wrong).toMatchObject({ code: "otp_invalid", status: 400, attemptsLeft: 4 });
    expect(tab.client.getState().status).toBe("unauthenticated");
  });

  it("resends the same challenge", async () => {
    const tab = await open();
    const challenge = await settle(tab.client.sendCode({ phone: "+46701234567" }));
    await settle(tab.client.resendCode(challenge));
    expect(world.server.calls.at(-1)?.body).toMatchObject({ phone: "+46701234567", channel: "sms", challenge_id: "c1" });
  });

  it("is found again by a new tab", async () => {
    await signIn(await open());
    const tab = await open();
    expect(tab.client.getState().status).toBe("authenticated");
    expect(await tab.client.ready).toBe(tab.client.getState());
    expect(tab.events).not.toContain("signed-in");
  });

  it("as somebody else is seen by the other tabs, and ends the former session", async () => {
    const [a, b] = [await open(), await open()];
    await signIn(a);
    tellStorage("auth_tokens", localStorage.getItem("auth_tokens"));
    await pass(0.01);
    expect(b.events).toEqual(["signed-in"]);
    world.server.user = 2;
    await signIn(a);
    tellStorage("auth_tokens", localStorage.getItem("auth_tokens"));
    await pass(1);
    expect(b.client.getState()).toMatchObject({ session: { auth_user_id: 2 } });
    expect(b.events).toEqual(["signed-in", "user-switched"]);
    expect(world.server.sessions.map(({ end }) => end)).toEqual(["logout", undefined]);
  });
});

describe("work that the server asks for", () => {
  const send = async () => (await open()).client.sendCode({ phone: "+46701234567" }).catch((error: unknown) => error);
  const proofs = () => world.server.calls.filter(({ path }) => path === "/otp").map(({ body }) => body.proof as string | undefined);
  const challengeOf = (proof: string | undefined) => {
    expect(createHash("sha256").update(proof!).digest()[0]).toBe(0);
    return proof!.split(".")[0];
  };

  it("is done, and the app notices nothing", async () => {
    world.server.puzzles = 1;
    expect(await send()).toMatchObject({ challenge_id: "c1", phone: "+46701234567" });
    expect(proofs().length).toBe(2);
    expect(proofs()[0]).toBeUndefined();
    expect(challengeOf(proofs()[1])).toBe("challenge0");
    expect(world.server.calls.at(-1)!.body).toMatchObject({ phone: "+46701234567" });
  });

  it("is done for a resend too", async () => {
    const { client } = await open();
    const challenge = await client.sendCode({ phone: "+46701234567" });
    world.server.puzzles = 1;
    await client.resendCode(challenge);
    expect(world.server.calls.at(-1)!.body).toMatchObject({ challenge_id: "c1", proof: expect.stringMatching(/^challenge0\./) as string });
  });

  it("is done anew, once, when the solution came too late", async () => {
    world.server.puzzles = 2;
    expect(await send()).toMatchObject({ challenge_id: "c1" });
    expect(proofs().slice(1).map(challengeOf)).toEqual(["challenge1", "challenge0"]);
  });

  it("is not done for ever", async () => {
    world.server.puzzles = 1000;
    expect(await send()).toMatchObject({ code: "rate_limited", status: 429, retryAfter: 60 });
    expect(proofs().length).toBe(3);
  });

  it("is refused when it is too much, as a browser that cannot work refuses it", async () => {
    world.server.puzzles = 1000;
    world.server.bits = 60;
    expect(await send()).toMatchObject({ code: "rate_limited", retryAfter: 60 });
    expect(proofs().length).toBe(1);
  });

  it("is not done for somebody on the way, whose answer is not ours", async () => {
    let asked = 0;
    vi.stubGlobal("fetch", async () => {
      asked++;
      return Response.json({ code: "rate_limited", proof_of_work: { challenge: "x", bits: 8 } }, { status: 429 });
    });
    expect(await send()).toMatchObject({ code: "unreachable", status: 0 });
    expect(asked).toBe(1);
  });
});

describe("signing out", () => {
  const both = async () => {
    const [a, b] = [await open(), await open()];
    await signIn(a);
    tellStorage("auth_tokens", localStorage.getItem("auth_tokens"));
    await pass(0.01);
    b.events.length = 0;
    return { a, b };
  };

  it("reaches the other tabs within 500 ms, once each, with its reason", async () => {
    const { a, b } = await both();
    const done = a.client.logout();
    expect(a.client.getState()).toEqual({ status: "unauthenticated", reason: "logout" });
    expect(localStorage.getItem("auth_tokens")).toBeNull();
    tellStorage("auth_tokens", null);
    await settle(done, 0.5);
    expect(b.client.getState()).toEqual({ status: "unauthenticated", reason: "other-tab" });
    await pass(60);
    expect([a.events, b.events]).toEqual([["signed-out"], ["signed-out"]]);
    expect(world.server.sessions[0]?.end).toBe("logout");
    expect(localStorage.getItem("auth_device_id")).not.toBeNull();
  });

  it("reaches them by the storage alone, too", async () => {
    const { b } = await both();
    localStorage.removeItem("auth_tokens");
    tellStorage("auth_tokens", null);
    await pass(0.5);
    expect(b.client.getState()).toEqual({ status: "unauthenticated", reason: "other-tab" });
  });

  for (const where of ["the same tab", "another tab"]) {
    it(`wins against a refresh in flight in ${where}`, async () => {
      const { a, b } = await both();
      let answer = (): void => {};
      world.server.before = (path) => (path === "/refresh" ? new Promise<void>((resolve) => (answer = resolve)) : undefined);
      const token = (where === "another tab" ? b : a).client.getAccessToken({ force: true }).catch((error: unknown) => error);
      await pass(0.1);
      await settle(a.client.logout());
      answer();
      expect(await settle(token)).toBeNull();
      await pass(10);
      expect(localStorage.getItem("auth_tokens")).toBeNull();
      expect(a.client.getState().status + b.client.getState().status).toBe("unauthenticated".repeat(2));
      expect([a.events, b.events].map((events) => events.filter((event) => event === "signed-out").length)).toEqual([1, 1]);
    });
  }

  it("undoes a write that comes after it", async () => {
    const { a } = await both();
    const late = localStorage.getItem("auth_tokens")!;
    await settle(a.client.logout());
    localStorage.setItem("auth_tokens", late);
    tellStorage("auth_tokens", late);
    expect(localStorage.getItem("auth_tokens")).toBeNull();
    expect(a.client.getState().status).toBe("unauthenticated");
  });

  it("works offline, and the server hears of it later", async () => {
    const { a } = await both();
    world.server.weather = "down";
    await settle(a.client.logout());
    expect(a.client.getState()).toEqual({ status: "unauthenticated", reason: "logout" });
    a.client.destroy();
    world.server.weather = "fine";
    await open(); // after the page was closed
    await pass(5);
    expect(world.server.sessions[0]?.end).toBe("logout");
    expect(localStorage.getItem("auth_logout")).toBeNull();
  });

  it("of the others keeps this one", async () => {
    const { a } = await both();
    await settle(a.client.logout({ scope: "others" }));
    expect(a.client.getState().status).toBe("authenticated");
    expect(world.server.calls.at(-1)).toMatchObject({ path: "/logout", body: { scope: "others" } });
  });

  it("happens when the server says so, with its reason", async () => {
    const { a, b } = await both();
    world.server.sessions[0]!.end = "banned";
    await settle(a.client.validate());
    expect([a, b].map(({ client }) => client.getState())).toEqual([1, 2].map(() => ({ status: "unauthenticated", reason: "banned" })));
    expect([a.events, b.events]).toEqual([["signed-out"], ["signed-out"]]);
  });
});

describe("looking after the session", () => {
  it("asks the server every five minutes, in visible tabs, once per browser", async () => {
    const tabs = [await open(), await open(), await open()];
    await signIn(tabs[0]!);
    tellStorage("auth_tokens", localStorage.getItem("auth_tokens"));
    await pass(10);
    const before = world.server.count("/session");
    await pass(540);
    expect(world.server.count("/session") - before).toBe(1);
    Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
    await pass(1200);
    expect(world.server.count("/session") - before).toBe(1);
  });

  it("stops and starts again", async () => {
    const tab = await open();
    await signIn(tab);
    const stop = tab.client.start();
    await pass(400);
    const before = world.server.calls.length;
    expect(before).toBeGreaterThan(2);
    stop();
    await pass(4000);
    expect(world.server.calls.length).toBe(before);
    tab.client.start();
    await pass(1);
    expect(world.server.calls.length).toBeGreaterThan(before);
  });

  it("lists and ends sessions, and renames the device", async () => {
    const tab = await open();
    await signIn(tab);
    expect(await settle(tab.client.sessions.list())).toEqual([]);
    await settle(tab.client.sessions.revokeOthers());
    expect(world.server.calls.at(-1)).toMatchObject({ method: "DELETE", path: "/sessions" });
    expect(await settle(tab.client.updateDevice({ device_name: "Mine" }))).toEqual({ device_name: "Mine" });
    await settle(tab.client.sessions.revoke("s1"));
    expect(tab.client.getState()).toEqual({ status: "unauthenticated", reason: "revoked" });
  });

  it("is not stopped by a listener that throws", async () => {
    const tab = await open();
    const thrown: unknown[] = [];
    const catchIt = (error: unknown): void => void thrown.push(error);
    process.on("uncaughtException", catchIt);
    tab.client.subscribe(() => {
      throw new Error("the app's own");
    });
    let heard = 0;
    tab.client.subscribe(() => heard++);
    await signIn(tab).catch(() => {});
    process.off("uncaughtException", catchIt);
    expect(heard).toBe(1);
    expect(tab.client.getState().status).toBe("authenticated");
  });
});

describe("the cookie transport", () => {
  const cookie = { transport: "cookie" } as const;

  it("leaves nothing of the session within script's reach", async () => {
    const tab = await open(cookie);
    expect(tab.client.getState()).toEqual({ status: "unauthenticated" });
    await signIn(tab);
    expect(tab.client.getState()).toMatchObject({ status: "authenticated", session: { session_id: "s1", user_type: "customer" } });
    expect(await tab.client.getAccessToken()).toBeNull();
    expect(localStorage.getItem("auth_tokens")).toBeNull();
    expect(localStorage.getItem("auth_session_id")).toBeNull();
  });

  it("keeps tabs in step", async () => {
    const [a, b] = [await open(cookie), await open(cookie)];
    await signIn(a);
    await pass(0.5);
    expect(b.client.getState()).toMatchObject({ session: { session_id: "s1" } });
    await settle(b.client.logout(), 0.5);
    expect(a.client.getState()).toEqual({ status: "unauthenticated", reason: "other-tab" });
    expect(world.server.sessions[0]?.end).toBe("logout");
  });

  it("finds the session of the cookie, and why it ended", async () => {
    await signIn(await open(cookie));
    expect((await open(cookie)).client.getState().status).toBe("authenticated");
    world.server.sessions[0]!.end = "evicted";
    const tab = await open(cookie);
    expect(tab.client.getState()).toEqual({ status: "unauthenticated", reason: "evicted" });
  });

  it("stays signed out offline, though the cookie is still there", async () => {
    const tab = await open(cookie);
    await signIn(tab);
    world.server.weather = "down";
    await settle(tab.client.logout());
    tab.client.destroy();
    const again = await open(cookie);
    expect(again.client.getState()).toEqual({ status: "unauthenticated" });
    world.server.weather = "fine";
    window.dispatchEvent(new Event("online"));
    await pass(5);
    expect(world.server.cookie).toBeUndefined();
    expect(again.client.getState()).toEqual({ status: "unauthenticated" });
  });

  it("waits for the server when it cannot be asked", async () => {
    await signIn(await open(cookie));
    world.server.weather = 503;
    const tab = await open(cookie);
    expect(tab.client.getState()).toEqual({ status: "loading" });
    world.server.weather = "fine";
    await pass(30);
    expect(tab.client.getState().status).toBe("authenticated");
  });

  it("begins with the session that the server rendered", async () => {
    const tab = await open(cookie);
    await signIn(tab);
    const state = tab.client.getState();
    if (state.status !== "authenticated") throw new Error("not signed in");
    const other = await open({ ...cookie, initialSession: state.session });
    expect(other.client.getServerState()).toEqual(state);
    expect(other.client.getState()).toEqual(state);
    expect(other.events).toEqual(["validated"]);
  });
});
