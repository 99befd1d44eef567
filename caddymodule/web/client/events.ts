import { authedFetch, validate } from "./access.js";
import { lockName, sleep, webLocks } from "./refresh.js";
import { listen } from "./timers.js";
import type { World } from "./world.js";

/** The server shows at least every 25 s that it lives. */
const SILENCE_MS = 60_000;
const AGAIN_MS = 1_000;
const TROUBLE_MS = 30_000;
/** No event is this short: only comments, and the hint when to come back. */
const SHORT_BYTES = 32;

/**
 * Hears at once of a session that ends elsewhere, over one connection per browser. Where that cannot be, the next
 * validate() finds out.
 */
export const followEvents = (w: World): (() => void) => {
  let stop: AbortController | undefined;
  // A frozen tab would keep the connection from the others.
  const turn = (event?: Event): void => {
    stop?.abort();
    if (event?.type === "freeze") return;
    stop = new AbortController();
    void follow(w, stop.signal);
  };
  turn();
  const deafen = listen(["freeze", "resume"], turn, true);
  return () => {
    stop?.abort();
    deafen();
  };
};

const follow = async (w: World, signal: AbortSignal): Promise<void> => {
  while (!signal.aborted) {
    const connected = webLocks()?.request(lockName(w, "events"), { signal }, () => w.kept && connect(w, signal)).catch(() => TROUBLE_MS);
    await sleep((await connected) || AGAIN_MS);
  }
};

/** Follows one answer to its end. Resolves with how long to wait, if that is long. */
const connect = async (w: World, signal: AbortSignal): Promise<number | void> => {
  const response = await authedFetch(w, w.apiBase + "/events", { credentials: w.cookies, signal });
  if (!response.ok) return TROUBLE_MS;
  const reader = response.body!.getReader();
  for (;;) {
    const { value } = (await Promise.race([reader.read(), sleep(SILENCE_MS)])) ?? {};
    // Whatever the news are, the session is what to look at: it tells why it ended.
    if (!value || value.length > SHORT_BYTES) void validate(w);
    if (!value) return reader.cancel();
  }
};
