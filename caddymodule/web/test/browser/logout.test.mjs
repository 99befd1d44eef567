// Signing out in one tab signs out all of them, whatever is on its way at that moment.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { api, breaks, endAll, events, expire, latch, openProfile, signedIn, signIn, sleep, startSite, state, status, stored, until, within, withJumps } from "./harness.mjs";

after(endAll);

const clock = () => performance.timeOrigin + performance.now();

/** Signs out in the first tab, and checks what all of them have seen of it. */
async function logoutReachesAll(t, tabs, meanwhile = () => {}) {
  const at = await tabs[0].evaluate(`const at = (${clock})(); client.logout(); at`);
  await meanwhile();
  let slowest = 0;
  for (const [n, tab] of tabs.entries()) {
    await until("signed out", async () => (await status(tab)) === "unauthenticated");
    const [first] = await events(tab, "signed-out");
    slowest = Math.max(slowest, first.at - at);
    assert.deepEqual(await state(tab), { status: "unauthenticated", reason: n ? "other-tab" : "logout" });
  }
  t.diagnostic(`all signed out after ${slowest.toFixed(0)} ms`);
  assert.ok(slowest < within(500), `${slowest} ms`);
}

/** Some time later nothing has come back, and nobody was told twice. */
async function staysSo(tabs) {
  await sleep(300);
  for (const [n, tab] of tabs.entries()) {
    const told = await events(tab, "signed-out");
    assert.deepEqual(told.map(({ detail }) => detail.reason), [n ? "other-tab" : "logout"], `tab ${n}`);
    assert.equal(await status(tab), "unauthenticated", `tab ${n}`);
    assert.equal(await stored(tab), null);
    assert.equal(await tab.evaluate(() => client.getAccessToken()), null);
  }
}

describe("logout in one tab", () => {
  let site;
  before(async () => {
    site = await startSite({ tokens: "refresh_grace 0s" });
  });

  const ended = (token) =>
    until("the session ended at the server", async () => {
      const answer = await (await site.ask("GET", `${api}/session`, token)).json();
      return answer.is_active === false && answer.end_reason === "logout";
    });
  const start = async ({ options, tabs: count = 3 } = {}) => {
    site.network.fault = undefined;
    const profile = await openProfile();
    await withJumps(profile);
    const { tabs } = await signedIn(site, count, { options, profile });
    return { profile, tabs, token: (await stored(tabs[0])).access_token };
  };
  const done = async (profile) => {
    assert.deepEqual(profile.complaints, []);
    await profile.close();
  };

  test("signs out the others, once each, with the reason", async (t) => {
    const { profile, tabs, token } = await start();
    await logoutReachesAll(t, tabs);
    await staysSo(tabs);
    await ended(token);
    await done(profile);
  });

  // The answer of the server is late in one case, and the request in the other: then the server knows of the sign-out first.
  for (const [where, n] of [["the same tab", 0], ["another tab", 1]]) {
    for (const late of ["request", "answer"]) {
      test(`wins against a refresh in ${where} whose ${late} is late`, async (t) => {
        const { profile, tabs, token } = await start({ options: { events: false }, tabs: 2 });
        const [asked, answered, release] = [latch(), latch(), latch()];
        site.network.fault = breaks("POST /refresh", async (response, pass, entry) => {
          asked.open();
          if (late === "request") await release.opened;
          pass(release.opened);
          await until("an answer", () => entry.status);
          answered.open();
        });
        await expire(tabs);
        await tabs[n].evaluate(() => void client.getAccessToken().catch(() => {}));
        await (late === "request" ? asked : answered).opened;
        await logoutReachesAll(t, tabs);
        release.open();
        await answered.opened;
        await staysSo(tabs);
        await ended(token);
        assert.equal(site.network.seen.filter(({ path, open }) => path.endsWith("/refresh") && open).length, 0);
        await done(profile);
      });
    }
  }

  test("works without a network, and the server hears of it later", async (t) => {
    const { profile, tabs, token } = await start();
    const told = site.network.requests("POST /logout").length;
    await profile.setOffline(true);
    await logoutReachesAll(t, tabs);
    await staysSo(tabs);
    assert.equal((await site.ask("GET", "/used", token)).status, 200, "nobody can have told the server yet");
    await profile.setOffline(false);
    await ended(token);
    await until("nothing left to tell", () => tabs[0].evaluate(() => localStorage.getItem("auth_logout") === null));
    t.diagnostic(`${site.network.requests("POST /logout").length - told} calls told the server`);
    await staysSo(tabs);
    await done(profile);
  });

  test("without a network is remembered when all tabs are closed", async () => {
    const { profile, tabs, token } = await start({ tabs: 1 });
    await profile.setOffline(true);
    await tabs[0].evaluate(() => void client.logout());
    for (const tab of tabs) await tab.close();
    assert.equal((await site.ask("GET", "/used", token)).status, 200);
    await profile.setOffline(false);
    const page = await profile.newPage();
    await page.goto(site.url);
    await ended(token);
    assert.equal(await status(page), "unauthenticated");
    await done(profile);
  });

  test("when the next user is signed in already, ends the former session alone", async () => {
    const { profile, tabs, token } = await start({ tabs: 2 });
    site.network.fault = breaks("POST /logout", (response) => response.destroy());
    await tabs[0].evaluate(() => client.logout().catch(() => {}));
    await until("all signed out", async () => (await Promise.all(tabs.map(status))).every((one) => one === "unauthenticated"));
    site.network.fault = undefined;
    const next = await signIn(site, tabs[1]);
    await ended(token);
    for (const tab of tabs) {
      await until("the next user in all tabs", async () => (await state(tab)).session?.session_id === next.session_id);
    }
    await done(profile);
  });

  test("with the cookie transport, too", async (t) => {
    site.network.fault = undefined;
    const profile = await openProfile();
    const { tabs } = await signedIn(site, 3, { options: { transport: "cookie" }, profile });
    const reads = (tab) => tab.evaluate(async () => (await client.fetch("/used")).status);
    assert.equal(await reads(tabs[2]), 200);
    await logoutReachesAll(t, tabs);
    await until("the cookie is of no use", async () => (await reads(tabs[2])) === 401);
    await sleep(300);
    for (const [n, tab] of tabs.entries()) {
      assert.deepEqual((await events(tab, "signed-out")).map(({ detail }) => detail.reason), [n ? "other-tab" : "logout"]);
    }
    await done(profile);
  });
});
