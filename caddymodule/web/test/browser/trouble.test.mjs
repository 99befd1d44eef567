// What goes wrong on the way and in the browser ends no session: a network that is lost, answers that are none, a
// storage that does not store.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { api, endAll, events, expire, openProfile, openTab, openTabs, signedIn, signIn, sleep, startSite, state, status, stored, until, within, withJumps } from "./harness.mjs";

after(endAll);

const quiet = { events: false, activity: false, validateEvery: 1e9 };
let site;
before(async () => {
  site = await startSite({ tokens: "refresh_grace 0s" });
});

describe("a refresh that gets", () => {
  const html = { contentType: "text/html", body: "<!doctype html><title>Log in to the network</title>" };
  const ours = (status, code, headers) => ({
    status, contentType: "application/problem+json", headers: { "Sidegate-Error": code, ...headers }, body: JSON.stringify({ status, code }),
  });
  const cases = {
    "no connection": { answer: (route) => route.abort(), code: "unreachable" },
    "no answer": { answer: () => {}, code: "unreachable" },
    "a page in place of the answer": { answer: (route) => route.fulfill({ status: 200, ...html }), code: "unreachable" },
    "a proxy's 502": { answer: (route) => route.fulfill({ status: 502, ...html }), code: "unreachable" },
    "a proxy's 401": { answer: (route) => route.fulfill({ status: 401, ...html }), code: "unreachable" },
    "a proxy's 400 in JSON": { answer: (route) => route.fulfill({ status: 400, json: { code: "session_revoked" } }), code: "unreachable" },
    "a JSON that is no answer": { answer: (route) => route.fulfill({ json: [null] }), code: "unreachable" },
    "a 503 of ours": { answer: (route) => route.fulfill(ours(503, "store_unavailable", { "Retry-After": "1" })), code: "store_unavailable", leastMs: 1_000 },
    "a 500 of ours": { answer: (route) => route.fulfill(ours(500, "internal_error")), code: "internal_error" },
    "a 429 with Retry-After": { answer: (route) => route.fulfill(ours(429, "rate_limited", { "Retry-After": "3" })), code: "rate_limited", leastMs: 3_000 },
  };

  const keepsTheSession = async ({ answer, code, leastMs = 500 }) => {
    const profile = await openProfile();
    await withJumps(profile);
    const { tabs: [tab], session } = await signedIn(site, 1, { profile, options: quiet });
    const before = await stored(tab);
    const asked = [];
    let broken = true;
    await profile.route("**/refresh", (route) => {
      asked.push(Date.now());
      return broken ? answer(route) : route.continue();
    });
    await expire([tab]);
    assert.equal(await tab.evaluate(() => client.getAccessToken().catch((error) => error.code)), code);
    assert.deepEqual(await state(tab), { status: "authenticated", session, offline: true });
    assert.equal((await stored(tab)).refresh_token, before.refresh_token);
    // An app that does not wait gets no further than to the answer that said how long to wait.
    if (leastMs >= 1_000) await tab.evaluate(() => void (window.asking = setInterval(() => client.getAccessToken().catch(() => {}), 100)));
    await sleep(2_500);
    // At once, after a second or two, and then twice that: a loop would be dozens.
    assert.ok(asked.length <= 5, `asked ${asked.length} times`);
    broken = false;
    await until("it comes back by itself", async () => (await stored(tab)).refresh_token !== before.refresh_token);
    await until("it is online", async () => !(await state(tab)).offline);
    for (const [n, at] of asked.slice(1).entries()) assert.ok(at - asked[n] >= leastMs - 20, `asked again after ${at - asked[n]} ms`);
    assert.equal(await tab.evaluate(() => client.fetch("/used").then(({ status }) => status)), 200);
    assert.deepEqual(await events(tab, "signed-out"), []);
    assert.deepEqual(profile.complaints, []);
    await profile.close();
  };
  // All at once, each in a profile of its own: most of it is waiting.
  const results = {};
  before(() => {
    for (const [name, one] of Object.entries(cases)) results[name] = keepsTheSession(one).then(() => undefined, (error) => error);
  });
  for (const name of Object.keys(cases)) {
    test(`${name} keeps the session, and is repeated later`, async () => {
      const error = await results[name];
      if (error) throw error;
    });
  }
});

describe("the network", () => {
  test("may be lost and come back", async () => {
    const profile = await openProfile();
    await withJumps(profile);
    const { tabs, session } = await signedIn(site, 2, { profile });
    await profile.setOffline(true);
    for (const tab of tabs) await until("offline", async () => (await state(tab)).offline === true);
    await expire(tabs);
    for (const tab of tabs) assert.equal(await tab.evaluate(() => client.getAccessToken().catch((error) => error.code)), "unreachable");
    const refreshes = site.network.refreshes();
    await profile.setOffline(false);
    for (const tab of tabs) {
      await until("online again", async () => (await state(tab)).offline === false);
      assert.equal((await state(tab)).session.session_id, session.session_id);
      assert.deepEqual(await events(tab, "signed-out"), []);
    }
    assert.equal(site.network.refreshes() - refreshes, 1, "one refresh for all tabs");
    assert.deepEqual(profile.complaints, []);
    await profile.close();
  });

  test("brings the end of a session elsewhere to all tabs, over one connection", async (t) => {
    const phone = site.newPhone();
    const { context, tabs, session } = await signedIn(site, 3, { phone });
    const open = () => site.network.requests("GET /events").filter((entry) => entry.open);
    await until("a connection", () => open().length);
    await sleep(500);
    assert.equal(open().length, 1);
    // When the tab that has it is closed, another one takes over.
    await tabs.shift().close();
    await until("another connection", () => open().length === 1 && open()[0].status === 200);

    const { access_token } = await site.signInElsewhere(phone);
    const at = Date.now();
    assert.equal((await site.ask("DELETE", `${api}/sessions/${session.session_id}`, access_token)).status, 204);
    for (const tab of tabs) await until("signed out", async () => (await status(tab)) === "unauthenticated");
    const told = (await Promise.all(tabs.map((tab) => events(tab, "signed-out")))).flat();
    const slowest = Math.max(...told.map((one) => one.at)) - at;
    t.diagnostic(`all signed out after ${slowest.toFixed(0)} ms`);
    assert.ok(slowest < within(1_000), `${slowest} ms`);
    assert.deepEqual(told.map(({ detail }) => detail.reason), ["revoked", "revoked"]);
    // A tab's process may see late what another one has taken out of the storage.
    for (const tab of tabs) await until("an empty storage", async () => (await stored(tab)) === null);
    assert.deepEqual(context.complaints, []);
    await context.close();
  });
});

describe("a storage that", () => {
  const broken = {
    "throws when it is touched": () => Object.defineProperty(window, "localStorage", { get() { throw new DOMException("denied", "SecurityError"); } }),
    "is null": () => Object.defineProperty(window, "localStorage", { value: null }),
    "throws whatever is asked": () => {
      const refuse = () => { throw new DOMException("disk", "UnknownError"); };
      Object.assign(Storage.prototype, { getItem: refuse, setItem: refuse, removeItem: refuse });
    },
    "is full": () => {
      if (location.protocol === "about:") return;
      for (let size = 5_242_880; size >= 1; size >>= 1) {
        for (let n = 0; ; n++) {
          try {
            localStorage.setItem(`filler-${size}-${n}`, "x".repeat(size));
          } catch {
            break;
          }
        }
      }
    },
  };
  for (const [name, script] of Object.entries(broken)) {
    test(`${name} leaves a session that this tab alone has`, async () => {
      const profile = await openProfile();
      await profile.addInitScript(script);
      const tab = await openTab(profile, site);
      await signIn(site, tab);
      assert.equal(await tab.evaluate(async () => (await client.fetch("/used")).status), 200);
      const [first, second] = await tab.evaluate(async () => [await client.getAccessToken(), await client.getAccessToken({ force: true })]);
      assert.ok(first && second && first !== second);
      assert.equal(await tab.evaluate(async () => (await client.fetch("/used")).status), 200);
      assert.equal((await events(tab, "storage-unavailable")).length, 1);
      await tab.evaluate(() => client.logout());
      assert.deepEqual(await state(tab), { status: "unauthenticated", reason: "logout" });
      assert.equal((await site.ask("GET", "/used", second)).status, 401);
      assert.deepEqual(profile.complaints, []);
      await profile.close();
    });
  }

  test("is cleared signs all tabs out", async () => {
    const { context, tabs } = await signedIn(site, 2);
    await tabs[0].evaluate(() => localStorage.clear());
    for (const tab of tabs) {
      await until("signed out", async () => (await status(tab)) === "unauthenticated");
      assert.deepEqual((await events(tab, "signed-out")).map(({ detail }) => detail.reason), ["storage"]);
    }
    assert.deepEqual(context.complaints, []);
    await context.close();
  });

  test("holds rubbish is as good as empty", async () => {
    const { context, tabs: [tab] } = await signedIn(site, 1, { options: quiet });
    const good = await stored(tab);
    const rubbish = [
      "", "{", "null", "0", "[]", '"x"', "{}", JSON.stringify({ ...good, access_token: "a\nb" }),
      JSON.stringify({ ...good, refresh_token: null }), JSON.stringify({ ...good, expires_in: "x" }), JSON.stringify({ ...good, generation: {} }),
      JSON.stringify({ ...good, received_at: undefined }), JSON.stringify({ ...good, user_roles: "admin" }), JSON.stringify({ ...good, session_id: "" }),
    ];
    await tab.evaluate(() => client.destroy());
    const page = await context.newPage();
    for (const text of rubbish) {
      await tab.evaluate((text) => localStorage.setItem("auth_tokens", text), text);
      await page.goto(site.url);
      assert.deepEqual(await page.evaluate(() => client.ready), { status: "unauthenticated" }, text);
      assert.equal(await page.evaluate(() => client.getAccessToken()), null);
    }
    const keys = ["session_id", "device_id", "last_activity", "activity_sent", "validated", "retry_at", "logout"];
    for (const text of ["{", "NaN", "-1", "1e999", "\u0000\u{1F600}", "x".repeat(100_000)]) {
      await tab.evaluate(([keys, text]) => keys.forEach((key) => localStorage.setItem(`auth_${key}`, text)), [keys, text]);
      await page.goto(site.url);
      await signIn(site, page);
      assert.equal(await page.evaluate(async () => (await client.fetch("/used")).status), 200, text.slice(0, 20));
      await page.evaluate(() => client.touch());
    }
    assert.deepEqual(context.complaints, []);
    await context.close();
  });
});

test("tokens of 2 s are renewed in time, by one tab", async (t) => {
  const brief = await startSite({ tokens: ["access_ttl 2s", "refresh_grace 0s"] });
  const { context, tabs } = await signedIn(brief, 3);
  brief.network.seen.length = 0;
  const answers = [];
  const begin = Date.now();
  while (Date.now() < begin + 6_000) {
    answers.push(...(await Promise.all(tabs.map((tab) => tab.evaluate(() => client.fetch("/used").then(({ status }) => status))))));
    await sleep(200);
  }
  const seconds = (Date.now() - begin) / 1_000;
  t.diagnostic(`${brief.network.refreshes()} refreshes in ${seconds.toFixed(1)} s`);
  assert.deepEqual(answers.filter((status) => status !== 200), []);
  assert.ok(brief.network.refreshes() >= 2 && brief.network.refreshes() <= seconds + 1, `${brief.network.refreshes()} refreshes`);
  for (const tab of tabs) assert.deepEqual(await events(tab, "signed-out"), []);
  assert.deepEqual(context.complaints, []);
  await context.close();
});

test("the two bundles of the gate work", async () => {
  const profile = await openProfile();
  for (const load of [
    async (page) => void (await page.evaluate(async () => (window.made = (await import("/auth/client.js?of-the-gate")).createAuthClient()))),
    async (page) => {
      await page.addScriptTag({ url: "/auth/client.iife.js" });
      await page.evaluate(() => void (window.made = Sidegate.createAuthClient()));
    },
  ]) {
    const page = await profile.newPage();
    await page.goto(`${site.url}/elsewhere`);
    await load(page);
    await page.evaluate(() => void (window.client = made));
    const session = await signIn(site, page);
    assert.deepEqual(await state(page), { status: "authenticated", session, offline: false });
    assert.equal(await page.evaluate(async () => (await client.fetch("/used")).status), 200);
    await page.evaluate(() => client.logout());
    await page.close();
  }
  assert.deepEqual(profile.complaints, []);
  await profile.close();
});
