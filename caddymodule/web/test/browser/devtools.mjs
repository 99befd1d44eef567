// Chromium as people have it, driven over its own protocol. Playwright makes every page believe that it is in front,
// so none is ever hidden, frozen or kept in the back-forward cache there.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ends } from "./harness.mjs";

/** Starts a browser with a profile of its own, and speaks with it over a pipe. */
async function start() {
  const folder = mkdtempSync(join(tmpdir(), "sidegate-chromium-"));
  const flags = ["--headless=new", "--no-sandbox", "--no-first-run", "--remote-debugging-pipe", `--user-data-dir=${folder}`, "about:blank"];
  const chromium = spawn("/usr/bin/chromium", flags, { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const [, , , input, output] = chromium.stdio;
  const calls = new Map();
  const listeners = new Set();
  let rest = "";
  output.setEncoding("utf8").on("data", (text) => {
    const messages = (rest + text).split("\0");
    rest = messages.pop();
    for (const message of messages.map((one) => JSON.parse(one))) {
      const call = calls.get(message.id);
      calls.delete(message.id);
      if (!call) for (const listener of listeners) listener(message);
      else if (message.error) call.fail(new Error(`${call.method}: ${message.error.message}`));
      else call.done(message.result);
    }
  });
  let last = 0;
  const send = (method, params = {}, sessionId = undefined) =>
    new Promise((done, fail) => {
      calls.set(++last, { method, done, fail });
      input.write(JSON.stringify({ id: last, method, params, sessionId }) + "\0");
    });
  const stop = async () => {
    if (chromium.exitCode === null) {
      void send("Browser.close").catch(() => {});
      await once(chromium, "exit");
    }
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  return { send, listeners, stop };
}

/** A profile whose tabs can be hidden and frozen. It has what the tests use of a context of Playwright. */
export async function openRealProfile() {
  const { send, listeners, stop } = await start();
  ends.push(stop);
  const complaints = [];
  const scripts = [];
  listeners.add(({ method, params }) => {
    if (method === "Runtime.exceptionThrown") complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
  });
  return {
    complaints,
    addInitScript: async (script) => void scripts.push(`(${script})()`),
    newPage: async () => {
      const { targetId } = await send("Target.createTarget", { url: "about:blank" });
      const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
      const ask = (method, params) => send(method, params, sessionId);
      await ask("Page.enable");
      await ask("Runtime.enable");
      for (const source of scripts) await ask("Page.addScriptToEvaluateOnNewDocument", { source });
      return makeTab({ ask, send, listeners, targetId, sessionId });
    },
    close: stop,
  };
}

function makeTab({ ask, send, listeners, targetId, sessionId }) {
  /** Waits for an event of this tab that something leads to. */
  const after = async (event, run) => {
    const happened = new Promise((done) => {
      const listener = (message) => {
        if (message.sessionId !== sessionId || message.method !== event) return;
        listeners.delete(listener);
        done();
      };
      listeners.add(listener);
    });
    await run();
    await happened;
  };
  const lifecycle = (state) => ask("Page.setWebLifecycleState", { state });
  const tab = {
    async evaluate(script, argument) {
      const expression = typeof script === "function" ? `(${script})(${JSON.stringify(argument)})` : script;
      const { result, exceptionDetails } = await ask("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
      if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
      return result.value;
    },
    goto: (url) => after("Page.loadEventFired", () => ask("Page.navigate", { url })),
    back: async () => {
      const { currentIndex, entries } = await ask("Page.getNavigationHistory");
      await after("Page.frameNavigated", () => ask("Page.navigateToHistoryEntry", { entryId: entries[currentIndex - 1].id }));
    },
    show: () => send("Target.activateTarget", { targetId }),
    close: () => send("Target.closeTarget", { targetId }),
    freeze: () => lifecycle("frozen"),
    wake: () => lifecycle("active"),
  };
  return tab;
}
