// A tab that holds the lock of the refresh and stands still, is closed or goes into the back-forward cache.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { openRealProfile } from "./devtools.mjs";
import { api, breaks, endAll, events, expire, latch, openTab, signedIn, signIn, sleep, startSite, state, status, stored, until, within, withJumps } from "./harness.mjs";

after(endAll);

describe("a tab that holds the lock", () => {
  let site;
  before(async () => {
    site = await startSite({ tokens: "refresh_grace 0s" });
  });

  /** Two tabs with an expired token; the refresh of the first is on its way, and its answer comes when release is called. */
  const stuck = async () => {
    const profile = await openRealProfile();
    await withJumps(profile);
    const { tabs } = await signedIn(site, 2, { profile, options: { events: false, activity: false, validateEvery: 1e9 } });
    const release = latch();
    let caught;
    site.network.fault = breaks("POST /refresh", (response, pass, entry) => {
      if (caught) return pass();
      caught = entry;
      pass(release.opened);
    });
    await expire(tabs);
    await tabs[0].evaluate(() => {
      window.over = false;
      void client.getAccessToken().catch(() => {}).then(() => (window.over = true));
    });
    await until("the refresh is answered", () => caught?.status);
    return { profile, tabs, release: release.open, caught };
  };

  /** Freezes a tab that lies behind another one, as the browser does it to save power. */
  const freeze = async (tab) => {
    assert.equal(await tab.evaluate(() => document.visibilityState), "hidden");
    await tab.evaluate(() => {
      window.lives = [];
      for (const event of ["freeze", "resume"]) document.addEventListener(event, () => lives.push(event));
    });
    await tab.freeze();
    await until("the tab is frozen", () => tab.evaluate(() => lives.length));
  };

  /** How long another tab waits for a token, in ms. */
  const wait = (tab) =>
    tab.evaluate(async () => {
      const begin = performance.now();
      await client.getAccessToken();
      return performance.now() - begin;
    });

  test("and is frozen delays others by 10 s at most, and overwrites nothing when it wakes", async (t) => {
    const { profile, tabs: [holder, other], release } = await stuck();
    await freeze(holder);
    const ms = await wait(other);
    t.diagnostic(`waited ${ms.toFixed(0)} ms`);
    assert.ok(ms > 5_000, "the frozen tab was not waited for at all: did it have the lock?");
    assert.ok(ms < within(10_000), `waited ${ms} ms`);
    // The next generation, and the sleeper's answer is of the one before.
    await other.evaluate(() => client.getAccessToken({ force: true }));
    const { generation, refresh_token } = await stored(other);
    release();
    assert.deepEqual(await holder.evaluate(() => lives), ["freeze"]);
    await holder.wake();
    await until("it has what the other one has", () => holder.evaluate(async () => (await client.getAccessToken()) === JSON.parse(localStorage.auth_tokens).access_token));
    const found = await stored(other);
    assert.deepEqual([found.generation, found.refresh_token], [generation, refresh_token]);
    for (const tab of [holder, other]) {
      assert.equal((await tab.evaluate(() => client.fetch("/used").then(({ status }) => status))), 200);
      assert.deepEqual(await events(tab, "signed-out"), []);
    }
    assert.deepEqual(profile.complaints, []);
    await profile.close();
  });

  test("and is frozen while another user signs in, overwrites nothing when it wakes", async () => {
    const { profile, tabs: [holder, other], release } = await stuck();
    await freeze(holder);
    await other.evaluate(() => client.logout());
    const next = await signIn(site, other);
    release();
    await holder.wake();
    await until("the sleeper's refresh is over", () => holder.evaluate(() => over));
    await sleep(200);
    await until("the sleeper sees the next user", async () => (await state(holder)).session?.session_id === next.session_id);
    assert.equal((await stored(other)).session_id, next.session_id);
    assert.equal((await state(other)).session.session_id, next.session_id);
    assert.deepEqual(profile.complaints, []);
    await profile.close();
  });

  test("and is frozen while another tab signs out, brings nothing back when it wakes", async () => {
    const { profile, tabs: [holder, other], release } = await stuck();
    await freeze(holder);
    await other.evaluate(() => client.logout());
    release();
    await holder.wake();
    await until("the sleeper is signed out", async () => (await status(holder)) === "unauthenticated");
    await until("the sleeper's refresh is over", () => holder.evaluate(() => over));
    await sleep(300);
    assert.equal(await stored(other), null);
    assert.equal(await status(other), "unauthenticated");
    assert.deepEqual((await events(holder, "signed-out")).map(({ detail }) => detail.reason), ["other-tab"]);
    await profile.close();
  });

  test("and is closed delays nobody", async (t) => {
    const { profile, tabs: [holder, other], release } = await stuck();
    const [ms] = await Promise.all([wait(other), holder.close()]);
    t.diagnostic(`waited ${ms.toFixed(0)} ms`);
    assert.ok(ms < within(1_000), `waited ${ms} ms`);
    assert.ok(ms < 7_000, "only the patience for frozen tabs helped");
    assert.equal(await status(other), "authenticated");
    release();
    await profile.close();
  });

  test("and goes into the back-forward cache delays nobody, and comes back signed in", async (t) => {
    const { profile, tabs: [holder, other], release } = await stuck();
    await holder.goto(`${site.url}/elsewhere`);
    const ms = await wait(other);
    t.diagnostic(`waited ${ms.toFixed(0)} ms`);
    assert.ok(ms < within(1_000), `waited ${ms} ms`);
    assert.ok(ms < 7_000, "only the patience for frozen tabs helped");
    release();
    await holder.back();
    await until("signed in", async () => (await status(holder).catch(() => "")) === "authenticated");
    assert.equal(await holder.evaluate(() => client.getAccessToken()), (await stored(other)).access_token);
    assert.deepEqual(profile.complaints, []);
    await profile.close();
  });

  test("and comes out of the back-forward cache knows what happened meanwhile", async () => {
    const profile = await openRealProfile();
    // A page that others wait for is thrown out of the cache, as one would be that has the connection for events.
    const { tabs: [away, other] } = await signedIn(site, 2, { profile, options: { events: false } });
    await away.show();
    const leaveAndReturn = async () => {
      await away.evaluate(() => {
        window.back = "";
        addEventListener("pageshow", ({ persisted }) => (window.back = persisted ? "kept" : "anew"));
      });
      await away.goto(`${site.url}/elsewhere`);
      await other.evaluate(() => client.getAccessToken({ force: true }));
      await away.back();
      return until("the page is back", () => away.evaluate(() => window.back ?? "anew").catch(() => ""));
    };
    // A busy browser may keep no page, once: then it is loaded anew.
    let back = await leaveAndReturn();
    for (let n = 1; n < 5 && back !== "kept"; n++) back = await leaveAndReturn();
    assert.equal(back, "kept");
    const { access_token } = await stored(other);
    await until("its newest token", async () => (await away.evaluate(() => client.getAccessToken())) === access_token);

    await away.goto(`${site.url}/elsewhere`);
    await other.evaluate(() => client.logout());
    await away.back();
    await until("it is signed out", async () => (await status(away).catch(() => "")) === "unauthenticated"); // perhaps loaded anew
    assert.equal(await away.evaluate(() => client.getAccessToken()), null);
    assert.deepEqual(profile.complaints, []);
    await profile.close();
  });
});

describe("a tab that has the connection for events", () => {
  for (const [how, leave] of [["is frozen", (tab) => tab.freeze()], ["stops its client", (tab) => tab.evaluate(() => client.start()())]]) {
    test(`and ${how} leaves it to another one`, async (t) => {
      const site = await startSite();
      const profile = await openRealProfile();
      const phone = site.newPhone();
      const { tabs: [first], session } = await signedIn(site, 1, { profile, phone });
      const open = () => site.network.requests("GET /events").filter((entry) => entry.open && entry.status === 200);
      await until("a connection", () => open().length === 1);
      const [its] = open();
      const other = await openTab(profile, site);
      await leave(first);
      await until("another connection", () => open().length === 1 && open()[0] !== its);
      const { access_token } = await site.signInElsewhere(phone);
      const at = Date.now();
      assert.equal((await site.ask("DELETE", `${api}/sessions/${session.session_id}`, access_token)).status, 204);
      await until("signed out", async () => (await status(other)) === "unauthenticated");
      const [told] = await events(other, "signed-out");
      t.diagnostic(`signed out after ${(told.at - at).toFixed(0)} ms`);
      assert.ok(told.at - at < within(1_000), `${told.at - at} ms`);
      assert.deepEqual(profile.complaints, []);
      await profile.close();
    });
  }
});
