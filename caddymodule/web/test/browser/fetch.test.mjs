// client.fetch before the real gate: what it repeats, what it leaves alone, and where it brings no token.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { endAll, ends, events, signedIn, startSite, stored, until } from "./harness.mjs";

after(endAll);

describe("client.fetch", () => {
  let site, foreign, context, tab;
  before(async () => {
    site = await startSite({ tokens: ["access_ttl 3s", "refresh_grace 0s"] });
    foreign = await startForeign();
    // A client that never refreshes by itself: its clock stands still when it is told so.
    ({ context, tabs: [tab] } = await signedIn(site, 1, { options: { events: false, activity: false, validateEvery: 1e9 } }));
  });

  /** Makes the server refuse the token that the client believes in. */
  const outdate = async () => {
    await tab.evaluate(async () => {
      window.realNow ??= Date.now.bind(Date);
      Date.now = realNow;
      await client.getAccessToken({ force: true });
      const stopped = Date.now();
      Date.now = () => stopped;
    });
    const { access_token } = await stored(tab);
    await until("the server refuses the token", async () => (await site.ask("GET", "/used", access_token)).status === 401);
    site.network.seen.length = 0;
  };
  const tries = (path) => site.network.seen.filter((entry) => entry.path === path).map(({ status }) => status);

  test("refreshes once for 20 refusals, and repeats each once", async () => {
    await outdate();
    const answers = await tab.evaluate(() => Promise.all(Array.from({ length: 20 }, (_, n) => client.fetch(`/many/${n}`).then(({ status }) => status))));
    assert.deepEqual(answers, Array(20).fill(200));
    assert.equal(site.network.refreshes(), 1);
    for (let n = 0; n < 20; n++) assert.deepEqual(tries(`/many/${n}`), [401, 200]);
  });

  test("repeats a body byte for byte", async () => {
    const bytes = new Uint8Array(1_000_000).map((_, n) => (n * n) >> 7);
    const sha256 = (data) => createHash("sha256").update(data).digest("hex");
    const text = "grüße\r\n\0\u{1F600}";
    const bodies = {
      text: sha256(text),
      blob: sha256(bytes),
      buffer: sha256(bytes),
      view: sha256(bytes.subarray(3, 99)),
      params: sha256("a=1&b=%C3%BC"),
      empty: sha256(""),
      request: sha256(bytes),
    };
    await outdate();
    const echoes = await tab.evaluate(async (text) => {
      const bytes = new Uint8Array(1_000_000).map((_, n) => (n * n) >> 7);
      const form = new FormData();
      form.append("file", new Blob([bytes]), "a.bin");
      const bodies = {
        text, form, empty: "", blob: new Blob([bytes]), buffer: bytes.buffer, view: bytes.subarray(3, 99),
        params: new URLSearchParams({ a: "1", b: "ü" }), request: bytes,
      };
      const send = async ([kind, body]) => {
        const [input, init] = [`/bodies/${kind}`, { method: "PUT", body, headers: { "X-Mine": kind } }];
        const response = await (kind === "request" ? client.fetch(new Request(input, init)) : client.fetch(input, init));
        return [kind, await response.json()];
      };
      return Object.fromEntries(await Promise.all(Object.entries(bodies).map(send)));
    }, text);
    const boundary = /boundary=(\S+)/.exec(echoes.form.headers["content-type"])[1];
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\nContent-Type: application/octet-stream\r\n\r\n`;
    bodies.form = sha256(Buffer.concat([Buffer.from(head), bytes, Buffer.from(`\r\n--${boundary}--\r\n`)]));
    for (const [kind, wanted] of Object.entries(bodies)) {
      const { sha256: got, method, headers } = echoes[kind];
      assert.deepEqual(tries(`/bodies/${kind}`), [401, 200], kind);
      assert.deepEqual([got, method, headers["x-mine"]], [wanted, "PUT", kind], kind);
    }
    assert.equal(site.network.refreshes(), 1);
  });

  test("leaves the app's own 401 alone, whatever header it has", async () => {
    site.network.seen.length = 0;
    const [code, text] = await tab.evaluate(async () => {
      Date.now = window.realNow ?? Date.now;
      await client.getAccessToken({ force: true });
      const response = await client.fetch("/refuses");
      return [response.status, await response.text()];
    });
    assert.deepEqual([code, text], [401, "not you"]);
    assert.deepEqual(tries("/refuses"), [401]);
    assert.equal(site.network.refreshes(), 1, "the one that was asked for");
    assert.equal((await events(tab, "signed-out")).length, 0);
  });

  test("brings no token to another origin, nor there by a redirect", async () => {
    await tab.evaluate(async (to) => {
      await client.fetch(`${to}/direct`);
      await client.fetch(new Request(`${to}/request`, { headers: { "X-Mine": "1" } }));
      await client.fetch(`/away?to=${encodeURIComponent(to + "/redirected")}`);
    }, foreign.url);
    assert.deepEqual(foreign.seen.map(({ path }) => path), ["/direct", "/request", "/redirected"]);
    for (const { path, headers } of foreign.seen) assert.equal(headers.authorization, undefined, path);
  });

  test("leaves another credential as it is", async () => {
    const echo = await tab.evaluate(async () => (await client.fetch("/", { headers: { Authorization: "Basic YTpi" } })).status);
    assert.equal(echo, 200);
    assert.equal(site.network.seen.findLast(({ path }) => path === "/").headers.authorization, "Basic YTpi");
  });

  test("gives the refusal to the app when the refresh fails, and can be aborted", async () => {
    await outdate();
    site.network.fault = ({ path }, response, pass) => (path.endsWith("/refresh") ? response.destroy() : pass());
    assert.equal(await tab.evaluate(async () => (await client.fetch("/used")).status), 401);
    assert.equal(await tab.evaluate(() => client.getState().status), "authenticated");
    site.network.fault = () => {}; // no answer at all
    const name = await tab.evaluate(() => {
      const stop = new AbortController();
      setTimeout(() => stop.abort(), 50);
      return client.fetch("/used", { signal: stop.signal }).then(() => "", (error) => error.name);
    });
    assert.equal(name, "AbortError");
    site.network.fault = undefined;
  });

  test("leaves no exception behind", async () => {
    assert.deepEqual(context.complaints, []);
    await context.close();
  });
});

/** An origin that lets everybody read, and remembers what it got. */
async function startForeign() {
  const seen = [];
  const server = createServer(({ method, url, headers }, response) => {
    if (method !== "OPTIONS") seen.push({ path: url, headers });
    response.writeHead(200, { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*, Authorization" }).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, seen };
}
