// A site behind the real Caddy, and a browser to look at it with.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const repository = join(dirname(fileURLToPath(import.meta.url)), "../../../..");
const home = mkdtempSync(join(tmpdir(), "sidegate-pages-"));
process.on("exit", () => rmSync(home, { recursive: true, force: true }));

let built = process.env.SIDEGATE_BINARY;
const binary = () => {
  if (!built) {
    built = join(home, "sidegate");
    execFileSync("go", ["build", "-o", built, "./cmd/sidegate"], { cwd: repository, stdio: "inherit" });
  }
  return built;
};

const freePort = async () => {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  await new Promise((done) => listener.close(done));
  return port;
};

let sites = 0;

// startSite runs Caddy. global is more of the global option, pages the block of
// the directive's pages, sender the line of one.
export async function startSite({ global = "", pages = "", sender, app = "Acme" } = {}) {
  const folder = join(home, String(++sites));
  const port = await freePort();
  const outbox = join(folder, "outbox");
  const config = `{
	admin off
	auto_https off
	persist_config off
	storage file_system ${folder}/caddy
	log default {
		output stderr
		level INFO
	}
	sidegate {
		app_name "${app}"
		store badger {
			path ${folder}/store
		}
		${sender ?? `sender file ${outbox}`}
		${global}
	}
}
http://localhost:${port} {
	bind 127.0.0.1
	sidegate {
		public /favicon.ico
		pages /auth {
			${pages}
		}
	}
	header Content-Type text/html
	respond /favicon.ico 204
	respond "<!doctype html><html lang=en><title>The app</title><h1>The app</h1>"
}
`;
  execFileSync("mkdir", ["-p", folder]);
  const file = join(folder, "Caddyfile");
  writeFileSync(file, config);
  const caddy = spawn(binary(), ["run", "--config", file, "--adapter", "caddyfile"], { stdio: ["ignore", "ignore", "pipe"] });
  const log = [];
  await new Promise((ready, fail) => {
    caddy.on("exit", () => fail(new Error(`Caddy ended:\n${log.join("\n")}`)));
    createInterface(caddy.stderr).on("line", (line) => {
      log.push(line);
      if (line.includes("serving initial configuration")) ready();
    });
  });
  return {
    url: `http://localhost:${port}`,
    stop: async () => {
      if (caddy.exitCode === null && caddy.kill()) await once(caddy, "exit");
    },
    // codeFor is the newest code for a number, and noticeFor the newest message
    // without one. The message may still be on its way.
    codeFor: async (phone) => (await newest(outbox, phone, ({ code }) => code)).code,
    noticeFor: async (phone) => (await newest(outbox, phone, ({ code }) => !code)).text,
  };
}

const newest = async (outbox, phone, is) => {
  for (const end = Date.now() + 20_000; Date.now() < end; await new Promise((done) => setTimeout(done, 20))) {
    const messages = readText(outbox).trimEnd().split("\n").filter(Boolean).map((line) => JSON.parse(line));
    const message = messages.findLast((one) => one.to === phone && is(one));
    if (message) return message;
  }
  throw new Error(`no message for ${phone}`);
};

const readText = (file) => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
};

let browser;
export const openBrowser = async () =>
  (browser ??= await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] }));
export const closeBrowser = async () => browser?.close();

// openPage is a page of a fresh browser profile, which collects what the
// browser complains about, the policies of our pages and the last one's answer.
export async function openPage(options = {}) {
  const context = await (await openBrowser()).newContext({ locale: "en-GB", viewport: { width: 360, height: 740 }, ...options });
  const page = await context.newPage();
  const complaints = [];
  const policies = new Set();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    // A page that answers 400 is itself an entry there.
    if (["error", "warning"].includes(message.type()) && !/the server responded with a status of/.test(message.text())) {
      complaints.push(message.text());
    }
  });
  let answer;
  page.on("response", (response) => {
    const redirect = response.status() >= 300 && response.status() < 400;
    if (redirect || response.request().resourceType() !== "document" || !response.url().includes("/auth/")) return;
    answer = response;
    policies.add(response.headers()["content-security-policy"] ?? "none");
  });
  return { page, context, complaints, policies, answer: () => answer };
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// judge holds one look of a page against axe-core's rules.
export async function judge(page, name) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() =>
    window.axe.run(document, { rules: { "target-size": { enabled: true } }, resultTypes: ["violations"] }),
  );
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
  assert.deepEqual(found, [], name);
  await fits(page);
}

export const fits = async (page) => assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "too wide");

// calm holds a visit to what every page has to be: nothing in the console, a
// strict policy.
export const calm = ({ complaints, policies }) => {
  assert.deepEqual(complaints, []);
  assert.ok(policies.size > 0);
  for (const policy of policies) {
    assert.match(policy, /^default-src 'none'; script-src 'nonce-\w{26}'; style-src 'self'; /);
    assert.match(policy, /require-trusted-types-for 'script'; trusted-types 'none'$/);
    assert.doesNotMatch(policy, /unsafe/);
  }
};
