import { act, createElement as h, StrictMode, type ReactNode } from "react";
import { createRoot, hydrateRoot } from "react-dom/client";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createAuthClient, type AuthClient } from "../client/index.js";
import { AuthProvider, RequireAuth, SignedIn, SignedOut, useAuth, usePhoneLogin, useSession, useSessions } from "../client/react.js";
import { begin, end, open, pass, settle, signIn, world } from "./world.js";

beforeEach(() => {
  begin();
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
});
afterEach(() => {
  document.body.replaceChildren();
  end();
});

const mount = async (client: AuthClient, child: ReactNode): Promise<{ box: HTMLElement; unmount(): Promise<void> }> => {
  const box = document.body.appendChild(document.createElement("div"));
  const root = createRoot(box);
  await act(async () => root.render(h(StrictMode, null, h(AuthProvider, { client }, child))));
  return { box, unmount: () => act(async () => root.unmount()) };
};

const Name = (): ReactNode => {
  const auth = useAuth();
  return auth.status === "authenticated" ? `user ${auth.session.auth_user_id}` : auth.status;
};

describe("the provider", () => {
  it("runs the client once in StrictMode, and until it is unmounted", async () => {
    const { client } = await open();
    let running = 0;
    const counted = { ...client, start: () => (running++, () => void running--) };
    const { unmount } = await mount(counted, null);
    expect(running).toBe(1);
    await unmount();
    expect(running).toBe(0);
  });

  it("is missed where it is missing", () => {
    expect(() => renderToString(h(Name))).toThrow("AuthProvider");
  });
});

describe("components follow the state", () => {
  it("from signed out to signed in to signed out", async () => {
    const tab = await open();
    const { box } = await mount(tab.client, [
      h(Name, { key: 1 }), " ", h(SignedIn, { key: 2, children: "in" }), h(SignedOut, { key: 3, children: "out" }),
      h(RequireAuth, { key: 4, fallback: " please", children: " secret" }),
    ]);
    expect(box.textContent).toBe("unauthenticated out please");
    await act(() => signIn(tab));
    expect(box.textContent).toBe("user 1 in secret");
    await act(() => settle(tab.client.logout()));
    expect(box.textContent).toBe("unauthenticated out please");
  });

  it("and required sessions send to the login, once", async () => {
    const tab = await open();
    await signIn(tab);
    let sent = 0;
    const Page = (): ReactNode => useSession({ required: true, onUnauthenticated: () => sent++ }).status;
    const { box } = await mount(tab.client, h(Page));
    expect(box.textContent).toBe("authenticated");
    await act(() => settle(tab.client.logout()));
    expect([box.textContent, sent]).toEqual(["loading", 1]);
  });
});

describe("usePhoneLogin", () => {
  it("goes from the number to the code to the session", async () => {
    const { client } = await open();
    let login = {} as ReturnType<typeof usePhoneLogin>;
    const Form = (): ReactNode => (login = usePhoneLogin()).status;
    const { box } = await mount(client, h(Form));
    expect(box.textContent).toBe("phone");
    await act(() => settle(login.sendCode("+46701234567")));
    expect(box.textContent).toBe("code");
    await act(() => settle(login.verifyCode("000000")));
    expect(login).toMatchObject({ status: "code", error: { code: "otp_invalid", attemptsLeft: 4 } });
    await act(() => settle(login.resendCode()));
    expect(login.error).toBeUndefined();
    await act(() => settle(login.verifyCode("123456")));
    expect(login).toMatchObject({ status: "done", session: { auth_user_id: 1 } });
    await act(async () => login.reset());
    expect(box.textContent).toBe("phone");
  });
});

describe("useSessions", () => {
  it("lists, ends the others, and says what went wrong", async () => {
    const tab = await open();
    await signIn(tab);
    let list = {} as ReturnType<typeof useSessions>;
    const List = (): ReactNode => (list = useSessions()).status;
    const { box } = await mount(tab.client, h(List));
    await act(() => pass(0.2));
    expect(box.textContent).toBe("ready");
    await act(() => settle(list.revokeOthers()));
    expect(world.server.calls.some(({ method, path }) => method === "DELETE" && path === "/sessions")).toBe(true);
    world.server.weather = "down";
    await act(() => settle(list.reload()));
    expect(list).toMatchObject({ status: "error", error: { code: "unreachable" } });
  });
});

describe("server rendering", () => {
  const page = (client: AuthClient): ReactNode => h(AuthProvider, { client }, h("p", null, h(Name)), h(RequireAuth, { fallback: h("i"), children: h("b") }));

  it("hydrates without a warning, also when the browser knows more", async () => {
    await signIn(await open());
    vi.useRealTimers();
    const box = document.body.appendChild(document.createElement("div"));
    const options = {};
    box.innerHTML = renderToString(page(createAuthClient(options)));
    expect(box.textContent).toBe("loading");
    const complaints = vi.spyOn(console, "error").mockImplementation(() => {});
    const client = createAuthClient(options);
    await client.ready; // it is signed in before React begins
    await act(async () => hydrateRoot(box, page(client), { onRecoverableError: (error) => complaints(error) }));
    expect(complaints).not.toHaveBeenCalled();
    expect(box.innerHTML).toBe("<p>user 1</p><b></b>");
    client.destroy();
  });

  it("shows the session that the server knows", () => {
    const initialSession = { session_id: "s", auth_user_id: 7, user_type: "customer", user_roles: [], device_id: "d", session_expires_at: "", is_new_user: false };
    expect(renderToString(page(createAuthClient({ initialSession })))).toBe("<p>user 7</p><b></b>");
  });
});
