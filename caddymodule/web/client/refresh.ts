import { readHeld, type Held } from "./storage.js";
import type { World } from "./world.js";

/** How long a tab waits for another one's refresh. That one gives up earlier, unless it is frozen. */
const WAIT_MS = 8_500;
/** How long a new generation is announced; tabs see each other's writes to localStorage much sooner. */
const ANNOUNCE_MS = 30_000;
const LOOK_AGAIN_MS = 20;
const STALE_AT_MOST_MS = 2_000;

/** Web Locks do not exist on plain http, except on the local host. */
export const webLocks = (): LockManager | undefined => globalThis.navigator?.locks as LockManager | undefined;

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The name of a lock, or of its announcements; the same in all tabs. */
export const lockName = (w: World, what: string | number): string => `sidegate:${w.tokensKey}:${what}`;

// Renderer processes see each other's writes to localStorage late, but all ask the browser process for locks. So the
// newest generation is the name of a lock that is held for a while, and who reads an older one waits for the write.

/** Says that a generation has been written. */
export const announce = (w: World, generation: number): Promise<void> =>
  new Promise((granted) => {
    const held = (): Promise<void> => {
      granted();
      return sleep(ANNOUNCE_MS);
    };
    void (webLocks()?.request(lockName(w, generation), { mode: "shared" }, held) ?? granted());
  });

/** The newest generation that was announced; 0 when none was. */
export const announced = async (w: World): Promise<number> => {
  const locks = await webLocks()?.query();
  return Math.max(0, ...(locks?.held ?? []).map(({ name }) => Number(name!.split(lockName(w, ""))[1]) || 0));
};

/** The tokens as the last writer left them. */
export const readNewest = async (w: World): Promise<Held | undefined> => {
  const generation = await announced(w);
  for (let waitedMs = 0; ; waitedMs += LOOK_AGAIN_MS) {
    const found = readHeld(w);
    if (!found || found.generation >= generation || waitedMs >= STALE_AT_MOST_MS) return found;
    await sleep(LOOK_AGAIN_MS);
  }
};

/**
 * Runs as the only tab. A tab that stands still is waited for, but not for ever: then its lock is taken away, which its
 * mine() tells it. Without Web Locks tabs run at once, and the server gives all of them the same successor.
 */
export const alone = async (w: World, run: (mine: () => boolean) => Promise<void>): Promise<void> => {
  const locks = webLocks();
  if (!locks) return run(() => true);
  for (let steal = false; ; ) {
    // Not all waiting tabs lose patience at once: they would steal from each other.
    const signal = AbortSignal.timeout(WAIT_MS + Math.random() * 1000);
    let granted = false;
    let lost = false;
    try {
      return await locks.request(lockName(w, ""), steal ? { steal } : { signal }, () => {
        granted = true;
        return run(() => !lost);
      });
    } catch (error) {
      if (!/Abort|Timeout/.test((error as Error).name)) throw error;
      lost = true;
      steal = !granted;
    }
  }
};
