// Work that the server asks for before it sends one more code: the page does it by itself, and without a script the
// person reads how long to wait.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { calm, closeBrowser, judge, openPage, startSite } from "./site.mjs";

let site;
before(async () => {
  site = await startSite({
    global: "otp {\n allow_countries SE\n resend_after 1s\n }\n limits {\n ip_sends off\n prefix_sends off\n prefix_unverified 1/1h\n }",
  });
});
after(async () => {
  await site.stop();
  await closeBrowser();
});

const words = (lang) => JSON.parse(readFileSync(new URL(`../../pages/words/${lang}.json`, import.meta.url), "utf8")).texts;

let blocks = 10;
// numberOfABusyBlock is one for which the next code costs work.
const numberOfABusyBlock = async () => {
  const block = `+46701${blocks++}`;
  const answer = await fetch(`${site.url}/api/v1/auth/otp`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ phone: `${block}0001` }),
  });
  assert.equal(answer.status, 202);
  return `${block}1234`;
};

// visit is a page that notes what its forms were answered, and whose solver is
// what the route makes of it.
const visit = async (solver, options) => {
  const seen = await openPage(options);
  const answers = [];
  seen.page.on("response", (response) => response.request().method() === "POST" && answers.push(response.status()));
  if (solver) await seen.page.route("**/auth/work.js", solver);
  return { ...seen, answers };
};

const ask = async (page, phone, lang = "en") => {
  await page.goto(`${site.url}/auth/login?lang=${lang}&return_to=/app`);
  await page.fill("#phone", phone);
  await page.click("main button");
};

const enter = async (page, phone) => {
  await page.fill("#code", await site.codeFor(phone));
  await page.click("main button");
  await page.waitForURL(`${site.url}/app`);
};

// held is a solver that the browser waits for until release is called.
const held = () => {
  let release;
  const released = new Promise((done) => (release = done));
  return { release, solver: async (route) => (await released, route.continue()) };
};

const busy = (page) => page.locator("#news.notice");
const refused = async (page) => {
  assert.match(await page.locator("#alert").innerText(), /Too many codes/);
  assert.match(await page.locator("#wait").innerText(), /Try again in .(1 min|60 sec|[01]:\d\d)/);
  assert.match(await page.title(), /^Error: /);
  assert.equal(await busy(page).count(), 0);
  assert.equal(await page.locator("main button").getAttribute("aria-disabled"), null);
};

for (const lang of ["en", "ar", "de", "es", "fr", "hi"]) {
  test(`the page says so, does it and goes on, ${lang}`, async () => {
    const { release, solver } = held();
    const seen = await visit(solver);
    const { page, answers } = seen;
    const phone = await numberOfABusyBlock();
    await ask(page, phone, lang);
    await busy(page).waitFor();
    assert.equal(await busy(page).innerText(), words(lang).one_moment);
    assert.equal(await busy(page).getAttribute("role"), "status");
    assert.equal(await page.title(), `${words(lang).one_moment} – Acme`);
    assert.equal(await page.locator("#alert, #wait").count(), 0);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await judge(page, colorScheme);
    }
    const button = page.locator("main button");
    assert.equal(await button.getAttribute("aria-disabled"), "true");
    await button.click({ force: true });
    assert.deepEqual(answers, [429]);
    release();
    await page.locator("#code").waitFor();
    assert.deepEqual(answers, [429, 200]);
    await enter(page, phone);
    calm(seen);
  });
}

test("without a script the person reads how long to wait", async () => {
  const seen = await visit(undefined, { javaScriptEnabled: false });
  const phone = await numberOfABusyBlock();
  await ask(seen.page, phone);
  await seen.page.locator("#alert").waitFor();
  await refused(seen.page);
  assert.match(await seen.page.locator("#wait").innerText(), /60 sec/);
  assert.equal(await seen.page.inputValue("#phone"), phone);
  await seen.page.click("main button");
  await refused(seen.page);
  assert.deepEqual(seen.answers, [429, 429]);
  calm(seen);
});

test("a code is sent again after work", async () => {
  const { release, solver } = held();
  const seen = await visit(solver);
  const { page, answers } = seen;
  const phone = `+46701${blocks++}1234`;
  await ask(page, phone);
  await page.locator("#resend-wait").waitFor({ state: "detached" });
  await page.click("button.quiet");
  await busy(page).waitFor();
  await judge(page, "resend");
  release();
  await page.locator(".notice:not(#news)").waitFor();
  assert.match(await page.locator(".notice").innerText(), /sent the code again/);
  assert.deepEqual(answers, [200, 429, 200]);
  await enter(page, phone);
  calm(seen);
});

test("work in vain is done once more, and then never again", async () => {
  const body = "export const solve = async ({ challenge }) => challenge + '.x'";
  const seen = await visit((route) => route.fulfill({ contentType: "text/javascript", body }));
  await ask(seen.page, await numberOfABusyBlock());
  await seen.page.locator("#wait").waitFor();
  await new Promise((done) => setTimeout(done, 1000));
  assert.deepEqual(seen.answers, [429, 429, 429]);
  await refused(seen.page);
  await judge(seen.page, "refused");
  calm(seen);
});

test("a solver that does not come leaves the refusal", async () => {
  const seen = await visit((route) => route.fulfill({ status: 404 }));
  await ask(seen.page, await numberOfABusyBlock());
  await seen.page.locator("#wait").waitFor();
  await refused(seen.page);
  assert.deepEqual(seen.answers, [429]);
});

test("who types another number meanwhile is not overtaken", async () => {
  const { release, solver } = held();
  const seen = await visit(solver);
  const { page, answers } = seen;
  await ask(page, await numberOfABusyBlock());
  await busy(page).waitFor();
  const other = await numberOfABusyBlock();
  await page.fill("#phone", other);
  await refused(page);
  const loaded = page.waitForResponse("**/auth/work.js");
  release();
  await loaded;
  await new Promise((done) => setTimeout(done, 1000));
  assert.deepEqual(answers, [429]);
  await page.click("main button");
  await page.locator("#code").waitFor();
  assert.deepEqual(answers, [429, 429, 200]);
  await enter(page, other);
  calm(seen);
});

test("a server out of reach by then can be asked again by hand", async () => {
  const { release, solver } = held();
  const seen = await visit(solver);
  const { page, context } = seen;
  const phone = await numberOfABusyBlock();
  await ask(page, phone);
  await busy(page).waitFor();
  await page.route("**/auth/page.js", (route) => route.abort());
  release();
  await page.locator("#trouble:visible").waitFor();
  await refused(page);
  await page.unroute("**/auth/page.js");
  await page.click("main button");
  await page.locator("#code").waitFor();
  await enter(page, phone);
  await context.close();
});
