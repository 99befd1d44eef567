// The walk of a person through the pages, with and without a script.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { calm, closeBrowser, openPage, startSite } from "./site.mjs";

let site;
before(async () => {
  site = await startSite({
    global: "otp {\n allow_countries SE\n resend_after 4s\n }\n limits {\n ip_sends off\n prefix_sends off\n }",
  });
});
after(async () => {
  await site.stop();
  await closeBrowser();
});

const texts = (page, selector) => page.locator(selector).allInnerTexts();

// press submits a form and waits for the answer.
const press = async (page, button) => {
  const answer = page.waitForNavigation();
  await page.click(button);
  return answer;
};

const signIn = async (page, phone, way = "/auth/login?return_to=/auth/account") => {
  await page.goto(site.url + way);
  await page.fill("#phone", phone);
  await press(page, "main button");
  await page.fill("#code", await site.codeFor(phone));
  await press(page, "main button");
};

for (const javaScriptEnabled of [true, false]) {
  test(`from the app to the app, script ${javaScriptEnabled}`, async () => {
    const seen = await openPage({ javaScriptEnabled });
    const { page, context } = seen;
    const phone = javaScriptEnabled ? "+46701740605" : "+46701740606";
    await page.goto(`${site.url}/app?a=b#c`);
    assert.equal(await page.title(), "Sign in – Acme");
    assert.equal(await page.locator(":focus").getAttribute("id"), "phone");
    await page.fill("#phone", "0701740605");
    assert.equal((await press(page, "main button")).status(), 400);
    assert.match(await page.title(), /^Error: /);
    assert.equal(await page.inputValue("#phone"), "0701740605");
    await page.fill("#phone", phone);
    await press(page, "main button");

    const field = page.locator("#code");
    assert.equal(await field.getAttribute("autocomplete"), "one-time-code");
    assert.equal(await field.getAttribute("inputmode"), "numeric");
    assert.match((await texts(page, "main > p:not([id])"))[0], /text message to .*\+•+0[56]/);
    const code = await site.codeFor(phone);
    await field.fill(code === "123456" ? "654321" : "123456");
    assert.equal((await press(page, "main button")).status(), 400);
    assert.match((await texts(page, "#alert"))[0], /not right\.\s+Tries left: .4/);
    assert.equal(await field.getAttribute("aria-invalid"), "true");

    await page.locator("#resend-wait").waitFor({ state: javaScriptEnabled ? "detached" : "visible" });
    await assert.doesNotReject(async () => {
      // Without a script the wait does not count down, and the button answers.
      for (const end = Date.now() + 20_000; (await press(page, "button.quiet")).status() === 429; ) {
        assert.match((await texts(page, "#alert"))[0], /too early/);
        assert.ok(Date.now() < end, "the code is never sent again");
      }
    });
    assert.deepEqual(await texts(page, ".notice"), ["We have sent the code again."]);
    await field.fill(`${code.slice(0, 3)} ${code.slice(3)}`);
    await press(page, "main button");
    assert.equal(page.url(), `${site.url}/app?a=b`);
    assert.deepEqual(await texts(page, "h1"), ["The app"]);

    // Two more devices: one is ended alone, the other with all the others.
    const others = [await openPage({ javaScriptEnabled }), await openPage({ javaScriptEnabled })];
    for (const other of others) {
      await signIn(other.page, phone);
      assert.equal(other.page.url(), `${site.url}/auth/account`);
    }
    await page.goto(`${site.url}/auth/account`);
    assert.equal(await page.locator(".devices li").count(), 3);
    assert.deepEqual(await texts(page, ".mark"), ["This device", "New", "New"]);
    assert.match((await texts(page, ".devices h2"))[0], /^Chrome on Linux/);
    assert.match(await page.locator("time").first().getAttribute("datetime"), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    await press(page, ".devices button >> nth=0");
    assert.deepEqual(await texts(page, ".notice"), ["The device has been signed out."]);
    assert.equal(await page.locator(".devices li").count(), 2);
    await press(page, "main > form button.quiet");
    assert.equal(await page.locator(".devices li").count(), 1);
    assert.match((await texts(page, ".devices + .help"))[0], /not signed in on any other/);
    for (const other of others) {
      await other.page.goto(`${site.url}/app`);
      assert.match(other.page.url(), /\/auth\/login\?return_to=%2Fapp$/);
      calm(other);
    }
    await press(page, "main > form button");
    assert.deepEqual(await texts(page, ".notice"), ["You are signed out."]);
    const cookies = (await context.cookies()).map(({ name }) => name);
    assert.deepEqual(cookies, ["sidegate-device"]); // which signs nobody in
    await page.goto(`${site.url}/auth/account`);
    assert.match(page.url(), /\/auth\/login\?return_to=%2Fauth%2Faccount$/);
    calm(seen);
  });
}

for (const javaScriptEnabled of [true, false]) {
  test(`a new number, script ${javaScriptEnabled}`, async () => {
    const seen = await openPage({ javaScriptEnabled });
    const other = await openPage({ javaScriptEnabled });
    const { page } = seen;
    const [old, next, taken] = (javaScriptEnabled ? [20, 21, 22] : [23, 24, 25]).map((n) => `+467017406${n}`);
    for (const [one, phone] of [[page, old], [other.page, old], [(await openPage()).page, taken]]) await signIn(one, phone);
    await press(page, "a[href='/auth/account/phone']");
    assert.deepEqual(await texts(page, "h1"), ["Change your phone number"]);
    assert.equal(await page.locator(":focus").getAttribute("id"), "phone");

    // Whose a number is, is told after a right code alone.
    await page.fill("#phone", taken);
    await press(page, "main button");
    await page.fill("#code", await site.codeFor(taken));
    assert.equal((await press(page, "main button")).status(), 403);
    assert.deepEqual(await texts(page, "#alert"), ["This number belongs to another account."]);

    await page.fill("#phone", next);
    await press(page, "main button");
    const code = await site.codeFor(next);
    await page.check("text=Sign out my other devices");
    if (javaScriptEnabled) {
      await page.locator("#resend-wait").waitFor({ state: "detached" });
      await press(page, "button.quiet");
      assert.deepEqual(await texts(page, ".notice"), ["We have sent the code again."]);
      assert.ok(await page.isChecked(".choice input"), "the choice is lost with a resend");
    }
    await page.fill("#code", code === "123456" ? "654321" : "123456");
    assert.equal((await press(page, "main button")).status(), 400);
    assert.ok(await page.isChecked(".choice input"), "the choice is lost");
    await page.fill("#code", code);
    await press(page, "main button");
    assert.match(page.url(), /\/auth\/account\?done=number_others$/);
    assert.deepEqual(await texts(page, ".notice"), ["Your phone number has been changed, and all other devices have been signed out."]);
    assert.equal(await page.locator(".devices li").count(), 1);
    assert.match(await site.noticeFor(old), /^Your sign-in number for Acme was changed\. /);
    await other.page.goto(`${site.url}/auth/account`);
    assert.match(other.page.url(), /\/auth\/login\?/);

    // The old number is a stranger's; the new one is the way in.
    await signIn(other.page, old);
    assert.equal(await other.page.locator(".devices li").count(), 1);
    await signIn(other.page, next);
    assert.equal(await other.page.locator(".devices li").count(), 2);
    calm(seen);
    calm(other);
  });
}

test("a code that the message's reader gives is sent by itself", async () => {
  const seen = await openPage();
  const { page } = seen;
  // Chromium on a desk has no SMS: a stand-in for the browser's part.
  await page.exposeFunction("messageCode", () => site.codeFor("+46701740607"));
  await page.addInitScript(() => {
    window.OTPCredential ??= class {};
    navigator.credentials.get = async ({ otp, signal }) => {
      if (otp.transport[0] !== "sms" || !signal) throw new TypeError("not as WebOTP wants it");
      return { code: await window.messageCode() };
    };
  });
  await page.goto(`${site.url}/app`);
  await page.fill("#phone", "+46701740607");
  const found = page.waitForURL(`${site.url}/app`);
  await page.click("main button");
  await found;
  calm(seen);
});

test("a server out of reach keeps what was typed", async () => {
  const seen = await openPage();
  const { page, context } = seen;
  await page.goto(`${site.url}/auth/login`);
  await page.fill("#phone", "+46701740608");
  await context.setOffline(true);
  await page.click("main button");
  await page.locator("#trouble:visible").waitFor();
  assert.match((await texts(page, "#trouble"))[0], /cannot be reached/);
  assert.equal(await page.inputValue("#phone"), "+46701740608");
  await context.setOffline(false);
  seen.complaints.length = 0; // the browser notes the failed request itself
  await press(page, "main button");
  assert.equal(await page.locator("#code").count(), 1);

  await page.goBack(); // the form must not think that it is still being sent
  await page.fill("#phone", "+46701740609");
  await press(page, "main button");
  assert.match((await texts(page, "main > p:not([id])"))[0], /09/);
  calm(seen);
});

test("while the resend waits, its button says so and does nothing", async () => {
  const { page } = await openPage();
  await page.goto(`${site.url}/auth/login`);
  await page.fill("#phone", "+46701740610");
  await press(page, "main button");
  assert.match((await texts(page, "#resend-wait"))[0], /again in .0:0[1-4]/);
  const button = page.locator("button.quiet");
  assert.equal(await button.getAttribute("aria-disabled"), "true");
  await button.click({ force: true });
  await page.locator("#resend-wait").waitFor({ state: "detached" });
  assert.equal(await button.getAttribute("aria-disabled"), null);
  assert.equal(await page.locator(".notice, .alert:visible").count(), 0);

  await press(page, "button.quiet");
  await Promise.all([page.waitForNavigation(), page.evaluate(() => document.forms[1].submit())]); // as without a script
  assert.match((await texts(page, "#wait"))[0], /Try again in .0:0[1-4]/);
  await page.locator("#wait").waitFor({ state: "detached" });
  assert.equal(await page.locator("#news").innerText(), "You can try again now.");
});

test("moments are told in the reader's words and time zone", async () => {
  const seen = await openPage({ locale: "es-ES", timezoneId: "America/Lima" });
  const { page } = seen;
  await signIn(page, "+46701740612");
  const time = page.locator("time").first();
  assert.equal(await time.innerText(), "ahora mismo");
  for (const [hours, want] of [[3, /^hace 3 horas$/], [30, /^ayer$/], [24 * 30, /^\d{1,2} \w{3,4} \d{4}, \d{1,2}:\d\d$/]]) {
    await page.clock.setFixedTime(Date.now() + hours * 3_600_000 + 60_000);
    await page.reload();
    assert.match(await time.innerText(), want);
  }
  const at = new Date(await time.getAttribute("datetime"));
  const there = new Intl.DateTimeFormat("es", { timeStyle: "short", timeZone: "America/Lima" }).format(at);
  assert.ok((await time.getAttribute("title")).endsWith(there));
  calm(seen);
});

test("a reader's language, and another one by hand", async () => {
  const seen = await openPage({ locale: "es-MX" });
  const { page } = seen;
  await page.goto(`${site.url}/app`);
  assert.deepEqual(await texts(page, "h1"), ["Iniciar sesión"]);
  await page.click("footer a[lang=ar]");
  assert.equal(await page.locator("html").getAttribute("dir"), "rtl");
  await page.fill("#phone", "+46701740611");
  await press(page, "main button");
  assert.equal(await page.locator("html").getAttribute("lang"), "ar");
  await page.fill("#code", await site.codeFor("+46701740611"));
  await press(page, "main button");
  assert.equal(page.url(), `${site.url}/app`);
  calm(seen);
});
