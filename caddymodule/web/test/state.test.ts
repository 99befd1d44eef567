import { describe, expect, it } from "vitest";
import { happening, reduce, type Action } from "../client/state.js";
import type { AuthState, Session } from "../client/index.js";

const session = (session_id: string, auth_user_id = 1, user_roles: string[] = []): Session => ({
  session_id, auth_user_id, user_type: "customer", user_roles, device_id: "d", session_expires_at: "", is_new_user: false,
});
const loading: AuthState = { status: "loading" };
const nobody: AuthState = { status: "unauthenticated" };
const signedIn = (s: Session, offline = false): AuthState => ({ status: "authenticated", session: s, offline });
const [a, b] = [session("a"), session("b", 2)];

describe("reduce", () => {
  const same = "the same object";
  const table: [name: string, before: AuthState, action: Action, after: AuthState | typeof same, event?: string][] = [
    ["a page finds its session", loading, { session: a }, signedIn(a)],
    ["a page finds its session, without a network", loading, { session: a, offline: true }, signedIn(a, true)],
    ["a page finds nobody", loading, { out: undefined }, nobody],
    ["a page finds that its session was ended", loading, { out: "banned" }, { status: "unauthenticated", reason: "banned" }, "signed-out"],
    ["a page without a network knows nothing", loading, { offline: true }, same],
    ["somebody signs in", nobody, { session: a }, signedIn(a), "signed-in"],
    ["somebody signs in after a sign-out", { status: "unauthenticated", reason: "logout" }, { session: a }, signedIn(a), "signed-in"],
    ["the same again changes nothing", signedIn(a), { session: session("a") }, same],
    ["the network goes", signedIn(a), { offline: true }, signedIn(a, true)],
    ["the network comes back", signedIn(a, true), { session: a }, signedIn(a)],
    ["roles change", signedIn(a), { session: session("a", 1, ["admin"]) }, signedIn(session("a", 1, ["admin"]))],
    ["somebody else signs in", signedIn(a), { session: b }, signedIn(b), "user-switched"],
    ["the same user signs in again", signedIn(a), { session: session("c") }, signedIn(session("c")), "signed-in"],
    ["a sign-out", signedIn(a), { out: "logout" }, { status: "unauthenticated", reason: "logout" }, "signed-out"],
    ["a second sign-out changes nothing", { status: "unauthenticated", reason: "logout" }, { out: "other-tab" }, same],
    ["no network signed out", nobody, { offline: true }, same],
  ];
  for (const [name, before, action, after, event] of table) {
    it(name, () => {
      const got = reduce(before, action);
      if (after === same) expect(got).toBe(before);
      else expect(got).toEqual(after);
      expect(got === before ? undefined : happening(before, got)?.[0]).toBe(event);
    });
  }

  it("keeps the session's object while nothing in it changes", () => {
    const after = reduce(signedIn(a), { session: session("a"), offline: true });
    expect(after.status === "authenticated" && after.session).toBe(a);
  });
});
