// What the tests of the client run on: the real Caddy with the gate, an app behind it, a network between them and the
// browser that can be watched and broken, and tabs of a real Chromium.
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, createServer, request as ask } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const web = join(dirname(fileURLToPath(import.meta.url)), "../..");
const home = mkdtempSync(join(tmpdir(), "sidegate-browser-"));
process.on("exit", () => rmSync(home, { recursive: true, force: true }));
process.once("SIGTERM", () => process.exit(1)); // how the runner ends a file that takes too long

/** Rounds of a race: usually, or in per cent of the full number as ROUNDS says. npm run test:race has all. */
export const rounds = (usual, all) => (process.env.ROUNDS ? Math.ceil((all * Number(process.env.ROUNDS)) / 100) : usual);
/** Whether times are held to the promised figures. On a busy machine only the order of things can be. */
const TIMED = !!process.env.TIMED;
/** What a time is compared with: the promise, or ample time to see that the thing happens at all. */
export const within = (ms) => (TIMED ? ms : Math.max(10 * ms, 10_000));

export const api = "/api/v1/auth";

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits until the function gives something true, and gives that. */
export async function until(what, wanted, ms = 20_000) {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(5)) {
    const found = await wanted();
    if (found) return found;
  }
  throw new Error(`not within ${ms} ms: ${what}`);
}

/** A promise with the function that keeps it. */
export const latch = () => {
  let open;
  const opened = new Promise((done) => (open = done));
  return { opened, open };
};

const listen = async (server) => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server.address().port;
};

const freePort = async () => {
  const server = createServer();
  const port = await listen(server);
  server.close();
  return port;
};

// What the servers have to end with.
export const ends = [];
/** For after(): ends the browser and all servers. */
export const endAll = async () => {
  for (const end of ends.splice(0).reverse()) await end();
};

let built = process.env.SIDEGATE_BINARY;
const binary = () => {
  if (!built) execFileSync("go", ["build", "-o", (built = join(home, "sidegate")), "./cmd/sidegate"], { cwd: join(web, "../.."), stdio: "inherit" });
  return built;
};

/** The client as it is in client/, made as for dist/: so a test needs no server that was built with it. */
let source;
const clientSource = () => {
  if (source) return source;
  execFileSync(process.execPath, [join(web, "scripts/build.mjs"), "bundles", home], { stdio: "inherit" });
  source = {};
  for (const name of ["client.js", "client.iife.js", "work.js"]) source[`/auth/${name}`] = readFileSync(join(home, name));
  return source;
};

// The page of each tab. Its query are the client's options.
const tabScript = `
const query = decodeURIComponent(location.search.slice(1));
window.log = [];
window.client = Sidegate.createAuthClient(query ? JSON.parse(query) : {});
const events = ["signed-in", "signed-out", "user-switched", "token-refreshed", "refresh-failed", "validated", "idle-warning", "storage-unavailable"];
for (const event of events) {
  client.on(event, (detail) => log.push({ event, detail: { ...detail, error: detail.error?.code }, at: performance.timeOrigin + performance.now() }));
}
`;

/** The strictest policy that the client's documentation promises to work under. */
const strict = { "Content-Security-Policy": "default-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'" };

/** The app behind the gate: tells what it got. */
const app = async (request, response) => {
  const { pathname } = new URL(request.url, "http://app");
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts);
  const answer = (status, type, text, headers) => response.writeHead(status, { "Content-Type": type, ...headers }).end(text);
  if (pathname === "/") return answer(200, "text/html", '<!doctype html><title>tab</title><link rel=icon href="data:,"><script type=module src=/tab.js></script>');
  if (pathname === "/strict") return answer(200, "text/html", "<!doctype html><title>strict</title><script type=module src=/tab.js></script>", strict);
  if (pathname === "/classic") return answer(200, "text/html", "<!doctype html><title>classic</title><script src=/auth/client.iife.js></script><script src=/classic.js></script>", strict);
  if (pathname === "/tab.js") return answer(200, "text/javascript", `import * as Sidegate from "/auth/client.js";${tabScript}`);
  if (pathname === "/classic.js") return answer(200, "text/javascript", tabScript);
  if (pathname === "/elsewhere") return answer(200, "text/html", '<!doctype html><title>elsewhere</title><link rel=icon href="data:,">');
  if (pathname === "/refuses") return answer(401, "text/plain", "not you", { "Sidegate-Error": "token_expired" });
  if (pathname === "/away") return answer(307, "text/plain", "", { Location: new URL(request.url, "http://app").searchParams.get("to") });
  const sha256 = createHash("sha256").update(body).digest("hex");
  answer(200, "application/json", JSON.stringify({ method: request.method, headers: request.headers, bytes: body.length, sha256 }));
};

/**
 * Starts a site. tokens, sessions and limits are lines of those blocks of the global option. url goes through the network;
 * network.seen has what went through it, and network.fault may answer a request itself:
 * (request, response, pass) => …, where pass(after) lets it through and the answer back when the promise is kept.
 */
export async function startSite({ tokens = "", sessions = "", limits = [] } = {}) {
  const folder = mkdtempSync(join(home, "site-"));
  const gatePort = await freePort();
  const upstream = createServer((request, response) => void app(request, response).catch(() => response.destroy()));
  const outbox = join(folder, "outbox");
  const off = ["phone_sends", "phone_failures", "ip_sends", "ip_failures", "prefix_sends", "global_sends"].map((limit) => `${limit} off`);
  const block = (name, lines) => (lines.length ? `${name} {\n${lines.join("\n")}\n}` : "");
  writeFileSync(join(folder, "Caddyfile"), `{
	admin off
	auto_https off
	persist_config off
	storage file_system ${folder}/caddy
	sidegate {
		store badger {
			path ${folder}/store
		}
		sender file ${outbox}
		${block("limits", [...off, ...limits])}
		${block("tokens", [tokens].flat().filter(Boolean))}
		${block("sessions", [sessions].flat().filter(Boolean))}
	}
}
http://localhost:${gatePort} {
	bind 127.0.0.1
	sidegate {
		public / /strict /classic /tab.js /classic.js /elsewhere /favicon.ico
	}
	reverse_proxy 127.0.0.1:${await listen(upstream)}
}
`);
  const caddy = await startCaddy(join(folder, "Caddyfile"));
  const network = await startNetwork(gatePort);
  ends.push(async () => {
    network.stop();
    if (caddy.exitCode === null && caddy.kill()) await once(caddy, "exit");
    upstream.closeAllConnections();
    upstream.close();
  });

  const gate = `http://localhost:${gatePort}`;
  const post = async (path, body) => {
    const response = await fetch(`${gate}${api}${path}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    return response.json();
  };
  const codeFor = (challenge) =>
    until("a message with the code", () => {
      const lines = readText(outbox).split("\n").filter((line) => line.endsWith("}"));
      return lines.map((line) => JSON.parse(line)).findLast(({ id }) => id.startsWith(challenge))?.code;
    });
  let numbers = 0;
  return {
    url: network.url,
    network,
    post,
    codeFor,
    newPhone: () => `+467012345${String(numbers++).padStart(2, "0")}`,
    /** Signs in past the browser and the network, and gives the token response. */
    async signInElsewhere(phone) {
      const { challenge_id } = await post("/otp", { phone });
      return post("/otp/verify", { challenge_id, code: await codeFor(challenge_id) });
    },
    /** Asks the gate past the browser and the network. */
    ask: (method, path, token) => fetch(gate + path, { method, headers: { Authorization: `Bearer ${token}` } }),
  };
}

const readText = (file) => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
};

async function startCaddy(file) {
  const caddy = spawn(binary(), ["run", "--config", file, "--adapter", "caddyfile"], { stdio: ["ignore", "ignore", "pipe"] });
  process.once("exit", () => caddy.kill("SIGKILL"));
  const lines = [];
  await new Promise((ready, fail) => {
    caddy.on("exit", () => fail(new Error(`Caddy ended:\n${lines.join("\n")}`)));
    createInterface(caddy.stderr).on("line", (line) => {
      lines.push(line);
      if (line.includes("serving initial configuration")) ready();
    });
  });
  return caddy;
}

/** Stands between the browser and the gate, and gives the browser the client. */
async function startNetwork(gatePort) {
  const client = clientSource();
  const agent = new Agent({ keepAlive: true });
  const network = { seen: [], fault: undefined };
  const pass = (request, response, entry, after) => {
    const { method, url: path, headers } = request;
    const onward = ask({ host: "127.0.0.1", port: gatePort, method, path, headers, agent }, (answer) => {
      entry.status = answer.statusCode;
      entry.cookie = answer.headers["set-cookie"]?.join();
      void Promise.resolve(after).then(() => {
        if (response.destroyed) return answer.resume();
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      });
    });
    onward.on("error", () => response.destroy());
    response.on("close", () => response.writableFinished || onward.destroy());
    request.pipe(onward);
  };
  const server = createServer((request, response) => {
    const path = request.url.split("?")[0];
    if (client[path]) return response.writeHead(200, { "Content-Type": "text/javascript", "Cache-Control": "no-store" }).end(client[path]);
    const entry = { method: request.method, path, headers: request.headers, open: true };
    network.seen.push(entry);
    response.on("close", () => (entry.open = false));
    const onward = (after) => pass(request, response, entry, after);
    if (network.fault) network.fault(entry, response, onward);
    else onward();
  });
  server.keepAliveTimeout = 60_000;
  network.url = `http://localhost:${await listen(server)}`;
  /** The requests of an API route that went through, such as "POST /refresh". */
  network.requests = (wanted) => network.seen.filter(({ method, path }) => `${method} ${path.replace(api, "")}` === wanted);
  network.refreshes = () => network.requests("POST /refresh").length;
  network.stop = () => {
    server.closeAllConnections();
    server.close();
    agent.destroy();
  };
  return network;
}

/** Makes one route of the API fail: answer(response, pass) does what is wrong. Others go through. */
export const breaks = (wanted, answer) => (entry, response, pass) => {
  if (`${entry.method} ${entry.path.replace(api, "")}` === wanted) answer(response, pass, entry);
  else pass();
};

const flags = ["--no-sandbox"];
const launched = {};
/** Chromium; with bfcache as people have it, which Playwright switches off. */
export const openBrowser = async ({ bfcache = false } = {}) => {
  const browser = (launched[bfcache] ??= await chromium.launch({
    executablePath: "/usr/bin/chromium", args: flags, ...(bfcache && { ignoreDefaultArgs: ["--disable-back-forward-cache"] }),
  }));
  if (!browser.noted) ends.push(() => browser.close());
  browser.noted = true;
  return browser;
};

/** A fresh profile. Its complaints are exceptions and errors in any of its tabs. */
export async function openProfile(options) {
  const context = await (await openBrowser(options)).newContext();
  context.complaints = [];
  context.on("page", (page) => {
    page.on("pageerror", (error) => context.complaints.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error" && !/Failed to load resource|ERR_/.test(message.text())) context.complaints.push(message.text());
    });
  });
  return context;
}

/** A tab with a client, which is window.client there; window.log are its events. */
export async function openTab(context, site, options = {}, path = "/") {
  const page = await context.newPage();
  await page.goto(`${site.url}${path}?${encodeURIComponent(JSON.stringify(options))}`);
  await page.evaluate(() => client.ready.then(() => {}));
  return page;
}

export const openTabs = async (context, site, count, options) => {
  const tabs = [];
  while (tabs.length < count) tabs.push(await openTab(context, site, options));
  return tabs;
};

/** Signs a tab in through its client. */
export async function signIn(site, tab, phone = site.newPhone()) {
  const challenge = await tab.evaluate((phone) => client.sendCode({ phone }), phone);
  const code = await site.codeFor(challenge.challenge_id);
  return tab.evaluate(([challenge, code]) => client.verifyCode(challenge, code), [challenge, code]);
}

/** Tabs of one profile, signed in. */
export async function signedIn(site, count, { options, profile, phone } = {}) {
  const context = profile ?? (await openProfile());
  const tabs = await openTabs(context, site, count, options);
  const session = await signIn(site, tabs[0], phone);
  for (const tab of tabs) await until("all tabs signed in", () => tab.evaluate((id) => client.getState().session?.session_id === id, session.session_id));
  return { context, tabs, session };
}

export const state = (tab) => tab.evaluate(() => client.getState());
export const status = async (tab) => (await state(tab)).status;
/** The events of a name in a tab: {event, detail, at}, at in ms by the real clock. */
export const events = (tab, name) => tab.evaluate((name) => log.filter(({ event }) => event === name), name);
export const stored = (tab, key = "auth_tokens") => tab.evaluate((key) => JSON.parse(localStorage.getItem(key)), key);

/**
 * Makes the stored token old, as all tabs of the profile see it: from then on their clocks are an hour ahead for each
 * time. To be called before a tab is opened; then window.jumpAt(ms) sets such a time of the real clock.
 */
export const withJumps = (context) =>
  context.addInitScript(() => {
    const real = Date.now;
    const jumps = [];
    window.realNow = () => real.call(Date);
    window.jumpAt = (at) => jumps.push(at);
    Date.now = () => realNow() + 3_600_000 * jumps.filter((at) => at <= realNow()).length;
  });

/** Lets the tokens of all tabs be expired from now on. */
export const expire = async (tabs) => {
  const at = Date.now() + 100 * tabs.length;
  for (const tab of tabs) await tab.evaluate((at) => jumpAt(at), at);
  await until("the time of the jump", () => Date.now() > at);
};
