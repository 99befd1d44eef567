// Every page in every state: what axe-core says of it, whether it fits, and how
// it looks. The pictures are for people, in the folder that is named at the end;
// SCREENSHOTS=FOLDER takes more of them.
import assert from "node:assert/strict";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { closeBrowser, fits, judge, openPage, startSite } from "./site.mjs";

const pictures = process.env.SCREENSHOTS ?? mkdtempSync(join(tmpdir(), "sidegate-screenshots-"));

const roomy = "\nip_sends off\nip_failures off\nprefix_sends off\n";
const sites = {
  usual: await startSite({ global: `otp {\nallow_countries SE\nattempts 2\n}\nlimits {${roomy}}` }),
  strict: await startSite({
    app: "Nordic Savings & Loans",
    pages: "accent ffd400",
    global: `directory local {\nregistration closed\n}\notp {\nresend_after 1s\n}\nlimits {${roomy}\nphone_sends 2/1h\nphone_failures 1/24h\n}`,
  }),
  short: await startSite({ global: `otp {\nttl 1s\n}\nlimits {${roomy}}` }),
  broken: await startSite({ sender: "sender exec false", global: `otp {\nallow_countries *\n}\nlimits {${roomy}}` }),
};
after(async () => {
  await Promise.all(Object.values(sites).map((site) => site.stop()));
  await closeBrowser();
  console.log(`screenshots: ${pictures}`);
});

let numbers = 605;
const someNumber = () => `+46701740${numbers++}`;

// Steps. Each is given the visit: the page, its site, the number and language.
const open = (way) => ({ page, site, lang }) => page.goto(`${site.url}/auth${way}${way.includes("?") ? "&" : "?"}lang=${lang}`);
const press = async ({ page }, button = "main form button") => {
  const answer = page.waitForNavigation();
  await page.click(button);
  await answer;
};
const phone = (text) => async (visit) => {
  await open("/login")(visit);
  await visit.page.fill("#phone", text ?? visit.phone);
  await press(visit);
};
const code = (change = (right) => right) => async (visit) => {
  await visit.page.fill("#code", change(await visit.site.codeFor(visit.next ?? visit.phone)));
  await press(visit);
};
const number = (text) => async (visit) => {
  visit.next ??= someNumber();
  await open("/account/phone")(visit);
  await visit.page.fill("#phone", text ?? visit.next);
  await press(visit);
};
const changeNumber = async (visit) => {
  visit.next = someNumber();
  await number()(visit);
  await code()(visit);
};
const takeNumber = async (visit) => {
  visit.next = someNumber();
  const other = await openPage();
  const { site, lang, next } = visit;
  await phone()({ ...other, site, lang, phone: next });
  await code()({ ...other, site, phone: next });
  await other.context.close();
};
const tick = ({ page }) => page.check(".choice input");
const wrong = (right) => (right === "123456" ? "654321" : "123456");
const resend = async (visit) => {
  await visit.page.locator("#resend-wait").waitFor({ state: "detached" });
  await press(visit, "button.quiet");
};
const resendAtOnce = ({ page }) => // as a browser without a script can
  Promise.all([page.waitForNavigation(), page.evaluate(() => document.forms[1].submit())]);
const goOffline = async ({ page, context }) => {
  await context.setOffline(true);
  await page.fill("#phone", "+46701740605");
  await page.click("main button");
};
const elsewhere = async (visit) => {
  const other = await openPage({ userAgent: "Mozilla/5.0 (iPhone) AppleWebKit Safari/604" });
  await phone()({ ...visit, ...other });
  await code()({ ...visit, ...other });
  await other.context.close();
};
const trouble = ({ page }) => page.locator("#trouble:visible").waitFor();
const until = (milliseconds) => () => new Promise((done) => setTimeout(done, milliseconds));

// name, site, the error that the answer names, what stands on the page, steps
const states = [
  ["phone", "usual", "", "#phone", [open("/login")]],
  ["signed out", "usual", "", ".notice", [open("/login?done=out")]],
  ["phone invalid", "usual", "phone_invalid", "#phone[aria-invalid]", [phone("0701")]],
  ["phone not supported", "usual", "phone_not_supported", "#phone[aria-invalid]", [phone("+4915123456789")]],
  ["unreachable", "usual", "", "#trouble", [open("/login"), goOffline, trouble]],
  ["code", "usual", "", "#code", [phone()]],
  ["code with a brand", "strict", "", "#code", [phone()]],
  ["code not whole", "usual", "invalid_request", "#code[aria-invalid]", [phone(), code((right) => right.slice(1))]],
  ["code wrong", "usual", "otp_invalid", "#code[aria-invalid]", [phone(), code(wrong)]],
  ["code tried too often", "usual", "otp_attempts_exhausted", "#phone", [phone(), code(wrong), code(wrong)]],
  ["code expired", "short", "otp_expired", "#phone", [phone(), until(1100), code()]],
  ["resend too soon", "usual", "rate_limited", "#wait", [phone(), resendAtOnce]],
  ["sent again", "strict", "", ".notice", [phone(), resend]],
  ["rate limit", "strict", "rate_limited", "#wait", [phone(), resend, phone()]],
  ["too many failures", "strict", "too_many_failures", "#wait", [phone(), code(wrong), code(wrong)]],
  ["account disabled", "strict", "account_disabled", "#phone", [phone(), code()]],
  ["message not delivered", "broken", "", "#trouble", [phone(), trouble]],
  ["no delivery", "broken", "delivery_unavailable", "#phone", [phone(), phone(), phone(), phone(), phone(), phone()]],
  ["devices", "usual", "", ".devices", [phone(), elsewhere, open("/login?return_to=/auth/account"), phone(), code(), open("/account")]],
  ["one device", "usual", "", ".notice", [phone(), code(), open("/account?done=others")]],
  ["number", "usual", "", "#phone", [phone(), code(), open("/account/phone")]],
  ["number invalid", "usual", "phone_invalid", "#phone[aria-invalid]", [phone(), code(), number("0701")]],
  ["number code", "usual", "", ".choice", [phone(), code(), number()]],
  ["number code wrong", "usual", "otp_invalid", ".choice input:checked", [phone(), code(), number(), tick, code(wrong)]],
  ["number code sent too soon", "usual", "rate_limited", "#wait", [phone(), code(), number(), resendAtOnce]],
  ["number taken", "usual", "account_disabled", "#phone[aria-invalid]", [phone(), code(), takeNumber, number(), code()]],
  ["number changed", "usual", "", ".notice", [phone(), code(), number(), tick, code()]],
  ["number changed too often", "usual", "rate_limited", "#wait", [phone(), code(), changeNumber, changeNumber, changeNumber, open("/account/phone")]],
  ["no such page", "usual", "not_found", "[role=alert]", [open("/nope")]],
];

// Forced colours come last: Chromium's canvas keeps them.
const all = [
  { width: 360, colorScheme: "light" },
  { width: 360, colorScheme: "dark" },
  { width: 1280, colorScheme: "dark" },
  { width: 1280, colorScheme: "light" },
  { width: 360, colorScheme: "dark", forcedColors: "active" },
];
const few = [all[0], all[2]];
const looksOf = { en: process.env.SCREENSHOTS ? all : few, ar: few };

for (const [state, place, error, sign, steps] of states) {
  for (const lang of ["en", "ar"]) {
    test(`${state}, ${lang}`, async () => {
      const visit = { ...(await openPage()), site: sites[place], phone: someNumber(), lang };
      const { page } = visit;
      for (const step of steps) await step(visit);
      await page.locator(sign).first().waitFor();
      assert.equal(visit.answer().headers()["sidegate-error"] ?? "", error);
      assert.equal(await page.locator("html").getAttribute("dir"), lang === "ar" ? "rtl" : "ltr");
      assert.equal(/^(Error|خطأ): /.test(await page.title()), error !== "", "the title tells of an error");
      for (const { width, ...media } of looksOf[lang]) {
        await page.setViewportSize({ width, height: 800 });
        await page.emulateMedia(media);
        const name = [state, lang, width, media.forcedColors ?? media.colorScheme].join("-").replaceAll(" ", "-");
        await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
        if (!media.forcedColors) await judge(page, name);
      }
      await page.setViewportSize({ width: 320, height: 256 }); // WCAG 2.2, 1.4.10
      await fits(page);
      assert.deepEqual(visit.complaints.filter((line) => !line.includes("ERR_INTERNET_DISCONNECTED")), []);
      await visit.context.close();
    });
  }
}
