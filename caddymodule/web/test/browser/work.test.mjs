// Work that the server asks for, done by the client before the real gate, under the strictest policy.
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { solve } from "../../dist/work.js";
import { endAll, openProfile, openTab, signIn, startSite, status, within } from "./harness.mjs";

after(endAll);

describe("work that the server asks for", () => {
  let site, context;
  before(async () => {
    site = await startSite({ limits: ["prefix_unverified 1/1h"] });
    context = await openProfile();
  });
  beforeEach(() => (site.network.seen.length = 0));

  const tries = () => site.network.requests("POST /otp").map(({ status }) => status);
  let blocks = 10;
  /** A number of a block where so many codes have been sent and not brought back. */
  const numberAfter = async (codes) => {
    const block = `+46701${blocks++}`;
    for (let n = 0; n < codes; n++) {
      let answer = await site.post("/otp", { phone: `${block}000${n}` });
      if (answer.proof_of_work) answer = await site.post("/otp", { phone: `${block}000${n}`, proof: await solve(answer.proof_of_work) });
      assert.ok(answer.challenge_id, JSON.stringify(answer));
    }
    return `${block}1234`;
  };

  for (const path of ["/strict", "/classic"]) {
    test(`is done on the way of a sign-in, ${path}`, async () => {
      const tab = await openTab(context, site, {}, path);
      await signIn(site, tab, await numberAfter(1));
      assert.deepEqual(tries(), [429, 202]);
      assert.equal(await status(tab), "authenticated");
      await tab.evaluate(() => client.logout());
      await tab.close();
    });
  }

  test("of the hardest kind lets the page live meanwhile", async () => {
    const tab = await openTab(context, site, {}, "/strict");
    const { gap, turns } = await tab.evaluate(async (phone) => {
      let [gap, turns, last] = [0, 0, performance.now()];
      const clock = setInterval(() => {
        turns++;
        gap = Math.max(gap, performance.now() - last);
        last = performance.now();
      });
      await client.sendCode({ phone });
      clearInterval(clock);
      return { gap, turns };
    }, await numberAfter(2));
    assert.deepEqual(tries(), [429, 202]);
    assert.ok(turns > 3, `${turns} turns`);
    assert.ok(gap < within(100), `${gap} ms without a turn`);
    await tab.close();
  });

  /** Has a browser whose solver is replaced ask for a code. Gives the failure. */
  const askWith = async (answer) => {
    const tab = await openTab(context, site, {}, "/strict");
    await tab.route("**/auth/work.js", (route) => route.fulfill(answer));
    const failure = await tab.evaluate((phone) => client.sendCode({ phone }).catch(({ code, status, retryAfter }) => ({ code, status, retryAfter })), await numberAfter(1));
    await tab.close();
    return failure;
  };
  const refusal = { code: "rate_limited", status: 429, retryAfter: 60 };

  test("that comes back again is done once more, and no more", async () => {
    assert.deepEqual(await askWith({ contentType: "text/javascript", body: "export const solve = async ({ challenge }) => challenge + '.x'" }), refusal);
    assert.deepEqual(tries(), [429, 429, 429]);
  });

  test("that cannot be loaded leaves the refusal to the app", async () => {
    assert.deepEqual(await askWith({ status: 404 }), refusal);
    assert.deepEqual(tries(), [429]);
  });

  test("leaves no exception behind, and nothing that the policy stopped", async () => {
    assert.deepEqual(context.complaints, []);
    await context.close();
  });
});
