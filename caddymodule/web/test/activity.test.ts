import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { begin, end, open, pass, settle, signIn, sleep, world, type Tab } from "./world.js";

beforeEach(() => void begin());
afterEach(end);

const reports = (): number => world.server.count("/session/s1/activity");
const act = (type = "pointerdown"): void => void window.dispatchEvent(new Event(type));

const signedIn = async (activity = {}): Promise<Tab> => {
  const tab = await open({ activity });
  await signIn(tab);
  return tab;
};

describe("activity", () => {
  it("is told at most once a minute, and only when there was some", async () => {
    await signedIn();
    await open();
    await pass(600);
    expect(reports()).toBe(0);
    for (let i = 0; i < 300; i++) {
      act(["pointermove", "keydown", "scroll"][i % 3]);
      await pass(1);
    }
    expect(reports()).toBeGreaterThanOrEqual(4);
    expect(reports()).toBeLessThanOrEqual(6);
    const before = reports();
    await pass(70);
    const after = reports();
    expect(after - before).toBeLessThanOrEqual(1);
    await pass(600);
    expect(reports()).toBe(after);
  });

  it("before a night's sleep is not told in the morning", async () => {
    await signedIn();
    await pass(70);
    act();
    await pass(1);
    const before = reports();
    act();
    await pass(0.01);
    sleep(8 * 3600);
    await pass(20);
    expect(reports()).toBe(before);
  });

  it("can be told by hand, and switched off", async () => {
    const tab = await open({ activity: false });
    await signIn(tab);
    act();
    await pass(300);
    expect(reports()).toBe(0);
    await settle(tab.client.touch());
    expect(reports()).toBe(1);
  });
});

describe("idleTimeout", () => {
  it("warns once, then signs out everywhere and at the server", async () => {
    const tab = await signedIn({ idleTimeout: 900, warnBefore: 60 });
    const other = await open({ activity: { idleTimeout: 900 } });
    await pass(830);
    expect(tab.events).not.toContain("idle-warning");
    await pass(20);
    expect(tab.events.filter((event) => event === "idle-warning")).toHaveLength(1);
    expect(tab.details["idle-warning"]!.remaining).toBeGreaterThan(50);
    await pass(60);
    for (const { client } of [tab, other]) expect(client.getState()).toEqual({ status: "unauthenticated", reason: "idle" });
    expect(world.server.sessions[0]?.end).toBe("logout");
  });

  it("begins anew with activity in any tab", async () => {
    const tab = await signedIn({ idleTimeout: 900 });
    await open({ activity: { idleTimeout: 900 } });
    for (let i = 0; i < 3; i++) {
      await pass(800);
      act("keydown");
    }
    expect(tab.client.getState().status).toBe("authenticated");
  });

  it("over while the machine slept is not undone by waking it", async () => {
    const tab = await signedIn({ idleTimeout: 900 });
    await pass(10);
    sleep(8 * 3600);
    act("pointermove");
    await pass(1);
    expect(tab.client.getState()).toEqual({ status: "unauthenticated", reason: "idle" });
  });
});
