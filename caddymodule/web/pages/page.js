// What the pages do more with a script: the code is read from the message,
// waits count down, a form that cannot be sent says so. Without it everything
// works, so each part stands alone and none may throw.
"use strict";

const main = document.querySelector("main") ?? document.body; // a replaced layout may have none
const lang = document.documentElement.lang;
const say = (id, text) => {
  const line = document.getElementById(id);
  if (!line) return; // a replaced layout need not have it
  line.hidden = !text;
  line.textContent = text;
};

// A wait: 62 becomes 1:02. It is compared with the clock, not counted, because
// a sleeping phone runs no timers.
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;

const countDown = (line) => {
  const end = Date.now() + line.dataset.seconds * 1000;
  const button = document.querySelector(`form[data-after="${line.id}"] button`);
  button?.setAttribute("aria-disabled", "true"); // stays in the tab order, and says why
  const timer = setInterval(tick, 500);
  function tick() {
    const left = Math.ceil((end - Date.now()) / 1000);
    if (left > 3600) return; // the server's words will do
    if (left > 0) {
      const time = `\u2066${clock(left)}\u2069`;
      line.textContent = line.dataset.text.replace("{time}", time);
      return;
    }
    clearInterval(timer);
    button?.removeAttribute("aria-disabled");
    button?.removeAttribute("aria-describedby");
    if (!button && line.isConnected) say("news", main.dataset.ready);
    line.remove();
  }
  tick();
};

// A form is sent only when the server can be reached: the browser's own page
// for that would take away what was typed. Resolves with whether it was sent.
let sending = new WeakSet();
const send = async (form) => {
  sending.add(form);
  say("trouble", "");
  try {
    await fetch(main.dataset.probe, { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(10_000) });
    form.submit();
    return true;
  } catch {
    sending.delete(form);
    say("trouble", main.dataset.unreachable);
    return false;
  }
};

const watch = (form) =>
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const waits = form.querySelector('button[aria-disabled="true"]');
    if (!waits && !sending.has(form)) send(form);
  });

// Work that the server asks for before it sends one more code. It is done here,
// and the form sent again by itself, as if nothing had been refused. When that
// fails, or the person does something else meanwhile, the refusal stands.
const work = async (field) => {
  const { form, dataset } = field;
  const stop = new AbortController();
  for (const type of ["input", "submit", "pagehide"]) {
    addEventListener(type, ({ target }) => target !== form && stop.abort(), { signal: stop.signal });
  }
  stop.signal.addEventListener("abort", showBusy(form, dataset.text));
  try {
    const { solve } = await import("./work.js"); // runs thanks to the nonce of this script
    field.value = await solve({ challenge: dataset.challenge, bits: Number(dataset.bits) }, stop.signal);
    if (await send(form)) return;
  } catch {
    // not loaded, or stopped
  }
  stop.abort();
};

// Puts a text in the place of the refusal. Returns what undoes that. The refusal
// is taken out, not hidden: the field that it describes would go on telling it.
const showBusy = (form, text) => {
  const { title } = document;
  const button = form.querySelector("button");
  const news = document.getElementById("news");
  const refusal = news && document.getElementById("alert")?.parentElement;
  const place = document.createComment("");
  refusal?.replaceWith(place);
  news?.classList.replace("unseen", "notice");
  say("news", text);
  document.title = title.replace(/.*(?= – )/, () => text);
  button?.setAttribute("aria-disabled", "true");
  return () => {
    button?.removeAttribute("aria-disabled");
    document.title = title;
    say("news", "");
    news?.classList.replace("notice", "unseen");
    place.replaceWith(refusal);
  };
};

// WebOTP: the browser offers the code of a message that ends with
// "@this-host #code". Elsewhere the keyboard does, thanks to the field's
// autocomplete.
const readMessage = async (form) => {
  if (!("OTPCredential" in window)) return;
  const stop = new AbortController();
  form.addEventListener("submit", () => stop.abort());
  addEventListener("pagehide", () => stop.abort());
  try {
    const found = await navigator.credentials.get({ otp: { transport: ["sms"] }, signal: stop.signal });
    form.elements.code.value = found.code;
    form.requestSubmit();
  } catch {
    // declined, timed out, or not allowed here: the person types
  }
};

// Whether the message went out. Only a failure is worth a word.
const followDelivery = async (address) => {
  for (const wait of [1, 2, 4, 8, 15]) {
    await new Promise((done) => setTimeout(done, wait * 1000));
    const answer = await fetch(address, { cache: "no-store" }).catch(() => null);
    const status = answer?.ok ? (await answer.json().catch(() => null))?.status : "";
    if (status === "failed") say("trouble", main.dataset.undelivered);
    if (status !== "queued") return;
  }
};

// What is ticked in one form stays so when another one is sent.
const follow = (field) => {
  const box = document.getElementById(field.dataset.as);
  if (!box) return;
  const copy = () => (field.disabled = !box.checked);
  box.addEventListener("change", copy);
  copy(); // a browser that comes back to the page ticks it again
};

// Moments in the reader's own words and time zone.
const tellTime = (element) => {
  const at = new Date(element.dateTime);
  const ago = (at - Date.now()) / 1000;
  const [size, unit] = [[86400, "day"], [3600, "hour"], [60, "minute"]].find(([size]) => -ago >= size) ?? [];
  const date = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short", numberingSystem: "latn" }).format(at);
  element.title = date;
  if (unit && -ago < 7 * 86400) {
    const relative = new Intl.RelativeTimeFormat(lang, { numeric: "auto", numberingSystem: "latn" });
    element.textContent = relative.format(Math.ceil(ago / size), unit);
  } else if (unit) {
    element.textContent = date;
  }
};

document.querySelectorAll("[data-seconds]").forEach(countDown);
document.querySelectorAll("form[data-watch]").forEach(watch);
document.querySelectorAll("input[data-challenge]").forEach(work);
document.querySelectorAll("form[data-code]").forEach(readMessage);
document.querySelectorAll("form[data-delivery]").forEach((form) => followDelivery(form.dataset.delivery));
document.querySelectorAll("[data-as]").forEach(follow);
document.querySelectorAll("time").forEach(tellTime);
addEventListener("pageshow", () => {
  sending = new WeakSet(); // back from where a form led: it may be sent again
});
