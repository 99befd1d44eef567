import { ask } from "./access.js";
import { signOut } from "./outbox.js";
import { lockName, webLocks } from "./refresh.js";
import { set, stamp } from "./storage.js";
import { listen } from "./timers.js";
import { emit, type World } from "./world.js";

const signs = ["pointerdown", "pointermove", "keydown", "scroll"];
/** Finer is of no use to anybody. */
const NOTE_EVERY_MS = 1_000;

// When the user was last active, in any tab: the stored time is everybody's.

/** The user did something now. */
export const noteActivity = (w: World): void => set(w, "active_at", Date.now());

/** The user is here, and the server knows. */
export const beginActivity = (w: World): void => {
  noteActivity(w);
  set(w, "sent_at", Date.now());
};

/** Does what only one tab should, and not too often: whoever finds the lock taken leaves it to that tab. */
export const once = async (w: World, name: string, every: number, run: () => Promise<unknown>): Promise<void> => {
  const turn = async (lock: unknown): Promise<void> => {
    if (!lock || Date.now() - stamp(w, name) < every * 1000) return;
    set(w, name, Date.now());
    await run();
  };
  await (webLocks()?.request(lockName(w, name), { ifAvailable: true }, turn) ?? turn(1));
};

/** Tells the server that somebody is there, at most once in so many seconds. */
export const report = (w: World, every: number): Promise<void> =>
  once(w, "sent_at", every, async () => {
    // Without a time: the server's clock is right, this machine's may be wrong.
    if (w.kept) await ask(w, "POST", `/session/${w.kept.session_id}/activity`);
  });

/** Looks at the clock: reports, warns, or signs out because the time is up. */
export const checkActivity = (w: World): void => {
  const { activity } = w.settings;
  if (activity === false || !w.kept) return;
  const { syncEvery = 60, idleTimeout = Infinity, warnBefore = 60 } = activity ?? {};
  const at = stamp(w, "active_at");
  if (!at) return beginActivity(w); // the first look, or the clock was set back
  const remaining = idleTimeout - (Date.now() - at) / 1000;
  if (remaining <= 0) return void signOut(w, "idle");
  if (remaining <= warnBefore && w.warnedFor !== at) emit(w, "idle-warning", { remaining: Math.ceil((w.warnedFor = at) && remaining) });
  // What is long past, as after a night's sleep, must not look as if it were now.
  if (at > stamp(w, "sent_at") && Date.now() - at < syncEvery * 2000) void report(w, syncEvery).catch(() => {});
};

export const watchActivity = (w: World): (() => void) =>
  listen(
    signs,
    () => {
      if (Date.now() - stamp(w, "active_at") < NOTE_EVERY_MS) return;
      checkActivity(w); // who comes back after the time was up does not undo that
      noteActivity(w);
      checkActivity(w);
    },
    { passive: true, capture: true },
  );
