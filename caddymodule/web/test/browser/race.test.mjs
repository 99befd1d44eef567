// Tabs that all find the token expired at the same moment make one refresh. The server forgives nothing: what follows a
// token that was used is the end of the session, so a second refresh that comes late would sign everybody out.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, test } from "node:test";
import { endAll, openBrowser, openProfile, openTabs, rounds, signIn, signedIn, sleep, startSite, status, until, withJumps } from "./harness.mjs";

after(endAll);

/** Runs in a tab: asks for a token at the moment at which it expires, or a little later, and uses it. */
const round = async ({ at, lateMs }) => {
  jumpAt(at);
  await new Promise((done) => setTimeout(done, at + lateMs - 3 - realNow()));
  while (realNow() < at + lateMs);
  const token = await client.getAccessToken();
  const response = await client.fetch("/used", { method: "POST" });
  const { sid, gen } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
  return { state: client.getState().status, answer: response.status, sid, gen };
};

// Tabs that start at once meet at the lock; those that come a little later meet the write of the first one.
const spreads = [0, 4, 15, 40];

async function race(t, { tabs: size, count }) {
  const site = await startSite({ tokens: "refresh_grace 0s" });
  const context = await openProfile();
  await withJumps(context);
  const tabs = await openTabs(context, site, size, { validateEvery: 1e9, activity: false, events: false });
  const session = await signIn(site, tabs[0]);
  for (const tab of tabs) await until("all signed in", async () => (await status(tab)) === "authenticated");

  const wrong = [];
  for (let n = 1; n <= count; n++) {
    const before = site.network.refreshes();
    const at = Date.now() + 60 + 15 * size;
    const results = await Promise.all(tabs.map((tab) => tab.evaluate(round, { at, lateMs: Math.random() * spreads[n % spreads.length] })));
    const made = site.network.refreshes() - before;
    if (made !== 1) wrong.push(`round ${n}: ${made} refreshes`);
    for (const result of results) assert.deepEqual(result, { state: "authenticated", answer: 200, sid: session.session_id, gen: results[0].gen }, `round ${n}`);
  }
  const cdp = await (await openBrowser()).newBrowserCDPSession();
  const { processInfo } = await cdp.send("SystemInfo.getProcessInfo");
  const renderers = processInfo.filter(({ type }) => type === "renderer").length;
  t.diagnostic(`${size} tabs in ${renderers} processes, ${count} rounds: ${site.network.refreshes()} refreshes`);
  assert.deepEqual(wrong, [], `${wrong.length} of ${count} rounds`);
  assert.ok(renderers >= size, "tabs in one process see each other's writes at once: that proves nothing");
  for (const tab of tabs) assert.deepEqual(await tab.evaluate(() => log.filter(({ event }) => event === "signed-out" || event === "refresh-failed")), []);
  assert.deepEqual(context.complaints, []);
  await context.close();
}

const busy = async (run) => {
  const loops = [1, 2].map(() => spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" }));
  try {
    await run();
  } finally {
    for (const loop of loops) if (loop.kill()) await once(loop, "exit");
  }
};

test("2 tabs make one refresh a round", (t) => race(t, { tabs: 2, count: rounds(20, 100) }));
test("6 tabs make one refresh a round", (t) => race(t, { tabs: 6, count: rounds(10, 50) }));
test("2 tabs beside two busy processes make one refresh a round", (t) => busy(() => race(t, { tabs: 2, count: rounds(5, 100) })));
test("6 tabs beside two busy processes make one refresh a round", (t) => busy(() => race(t, { tabs: 6, count: rounds(4, 50) })));

// The gate renews the cookie on the way, and the browser sends requests that cross with the renewal: this is what
// refresh_grace is for. A request that is older than a whole access_ttl meets the next renewal, and is rightly taken for
// a copy: the three seconds are for machines that are busy.
test("6 tabs with a cookie that is due get one new cookie a round", async (t) => {
  const site = await startSite({ tokens: "access_ttl 3s" });
  const { context, tabs } = await signedIn(site, 6, { options: { transport: "cookie", activity: false, events: false, validateEvery: 1e9 } });
  const count = rounds(4, 50);
  for (let n = 1; n <= count; n++) {
    await sleep(3_100);
    site.network.seen.length = 0;
    const use = () => Promise.all([client.fetch("/used"), client.validate(), client.fetch("/used")]).then(([{ status }]) => status);
    assert.deepEqual(await Promise.all(tabs.map((tab) => tab.evaluate(use))), Array(6).fill(200), `round ${n}`);
    const cookies = new Set(site.network.seen.map(({ cookie }) => cookie?.split(";")[0]).filter(Boolean));
    assert.ok(cookies.size === 1 || cookies.size === 2, `round ${n}: ${cookies.size} new cookies`); // two when three seconds went by
    for (const tab of tabs) assert.equal(await status(tab), "authenticated", `round ${n}`);
  }
  t.diagnostic(`${count} rounds`);
  assert.deepEqual(context.complaints, []);
  await context.close();
});
