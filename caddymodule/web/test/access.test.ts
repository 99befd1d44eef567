import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { begin, end, json, open, pass, problem, settle, signIn, world, type Tab } from "./world.js";

let tab: Tab;
let seen: { url: string; authorization: string | null; body: Uint8Array }[];

beforeEach(async () => {
  begin();
  tab = await open();
  await signIn(tab);
  seen = [];
});
afterEach(end);

/** An app behind the gate, which refuses all tokens but the server's newest. */
const gate = (): void => {
  world.server.app = async (request) => {
    const authorization = request.headers.get("Authorization");
    seen.push({ url: request.url, authorization, body: new Uint8Array(await request.arrayBuffer()) });
    const generation = world.server.sessions[0]!.generation;
    return authorization?.includes(`.s1.${generation}.`) ? new Response("fine") : problem(401, "token_expired");
  };
};

describe("client.fetch", () => {
  it("carries the session", async () => {
    gate();
    expect(await (await settle(tab.client.fetch("/orders"))).text()).toBe("fine");
    expect(seen).toHaveLength(1);
    expect(seen[0]!.authorization).toMatch(/^Bearer access\.s1\./);
  });

  it("makes one refresh of 20 refusals at once, and tries each once more", async () => {
    gate();
    const token = await tab.client.getAccessToken();
    world.server.app = async (request) => {
      seen.push({ url: request.url, authorization: request.headers.get("Authorization"), body: new Uint8Array() });
      return request.headers.get("Authorization") === "Bearer " + token ? problem(401, "token_expired") : new Response("fine");
    };
    const answers = await settle(Promise.all(Array.from({ length: 20 }, (_, i) => tab.client.fetch("/orders/" + i))));
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(world.server.count("/refresh")).toBe(1);
    expect(seen).toHaveLength(40);
  });

  it("does not try a third time", async () => {
    world.server.app = (request) => {
      seen.push({ url: request.url, authorization: null, body: new Uint8Array() });
      return problem(401, "token_invalid");
    };
    expect((await settle(tab.client.fetch("/orders"))).status).toBe(401);
    expect(seen).toHaveLength(2);
    expect(tab.client.getState().status).toBe("authenticated");
  });

  it("sends a body again byte for byte", async () => {
    const bodies: [BodyInit, (body: Uint8Array) => void][] = [
      [new Uint8Array([0, 255, 13, 10, 128]), (body) => expect([...body]).toEqual([0, 255, 13, 10, 128])],
      ["grüße", (body) => expect(new TextDecoder().decode(body)).toBe("grüße")],
    ];
    for (const [body, check] of bodies) {
      gate();
      world.server.sessions[0]!.generation++; // our token is an old one
      const { generation } = JSON.parse(localStorage.getItem("auth_tokens")!) as { generation: number };
      localStorage.setItem("auth_tokens", localStorage.getItem("auth_tokens")!.replace(/refresh\.s1\.\d+/, "refresh.s1." + world.server.sessions[0]!.generation).replace(String(generation), String(generation + 1)));
      window.dispatchEvent(Object.assign(new Event("storage"), { key: "auth_tokens", newValue: "changed" }));
      seen = [];
      expect((await settle(tab.client.fetch("/upload", { method: "POST", body }))).status).toBe(200);
      expect(seen).toHaveLength(2);
      for (const one of seen) check(one.body);
    }
  });

  it("leaves alone what is not Sidegate's: a 401 of the app, its own credential, another origin", async () => {
    world.server.app = (request) => {
      seen.push({ url: request.url, authorization: request.headers.get("Authorization"), body: new Uint8Array() });
      return json(401, { code: "token_expired" });
    };
    expect((await settle(tab.client.fetch("/app"))).status).toBe(401);
    await settle(tab.client.fetch("/app", { headers: { Authorization: "Basic eA==" } }));
    await settle(tab.client.fetch("https://elsewhere.example/x"));
    await settle(tab.client.fetch("https://app.example.com.evil.example/x"));
    await settle(tab.client.fetch("http://app.example.com/x"));
    expect(seen.map(({ authorization }) => authorization?.slice(0, 12) ?? null)).toEqual(["Bearer acces", "Basic eA==", null, null, null]);
    expect(world.server.count("/refresh")).toBe(0);
  });

  it("asks for a fresh code no refresh", async () => {
    world.server.app = () => problem(401, "reauthentication_required");
    expect((await settle(tab.client.fetch("/money"))).headers.get("Sidegate-Error")).toBe("reauthentication_required");
    expect(world.server.count("/refresh")).toBe(0);
    expect(tab.client.getState().status).toBe("authenticated");
  });

  it("signs out when the session is over, and gives the refusal", async () => {
    world.server.sessions[0]!.end = "revoked";
    world.server.app = () => problem(401, "session_revoked");
    expect((await settle(tab.client.fetch("/orders"))).status).toBe(401);
    await pass(1);
    expect(tab.client.getState()).toEqual({ status: "unauthenticated", reason: "revoked" });
    expect(tab.events.filter((event) => event === "signed-out")).toHaveLength(1);
  });

  it("signed out sends no token", async () => {
    gate();
    await settle(tab.client.logout());
    expect((await settle(tab.client.fetch("/orders"))).status).toBe(401);
    expect(seen.map(({ authorization }) => authorization)).toEqual([null]);
  });
});

it("a session that is ended elsewhere signs out at once", async () => {
  tab.client.destroy();
  let send!: (text: string) => void;
  world.server.events = () =>
    new Response(new ReadableStream({ start: (out) => void (send = (text) => out.enqueue(new TextEncoder().encode(text))) }), {
      headers: { "Content-Type": "text/event-stream" },
    });
  const listener = await open();
  await pass(2);
  const before = world.server.count("/session");
  send("retry: 2000\n:\n\n");
  send(":\n\n");
  await pass(0.5);
  expect(world.server.count("/session")).toBe(before); // nothing was said
  world.server.sessions[0]!.end = "evicted";
  send('event: session.ended\ndata: {"session_id":"s1","end_reason":"evicted"}\n\n');
  await pass(0.5);
  expect(listener.client.getState()).toEqual({ status: "unauthenticated", reason: "evicted" });
});
