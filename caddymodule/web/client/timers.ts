/** No tick is further away: a sleeping laptop is noticed within this, and no timer comes near setTimeout's 24.8 days. */
const TICK_MS = 5_000;
const LEAST_MS = 500;

const wakes = ["focus", "pageshow", "visibilitychange"];

/** Listens on the window, where events of the document arrive too, and returns what ends that. */
export const listen = <E extends Event>(types: string[], listener: (event: E) => void, options?: AddEventListenerOptions | boolean): (() => void) => {
  for (const type of types) addEventListener(type, listener as EventListener, options);
  return () => {
    for (const type of types) removeEventListener(type, listener as EventListener, options);
  };
};

export const visible = (): boolean => document.visibilityState === "visible";

/**
 * Calls tick when nextAt() has come by the wall clock, and whenever the page wakes up. Timers stand still in a sleeping
 * machine and are slow in a hidden tab, so the clock is asked at each tick and nothing is counted.
 */
export const startTicker = (tick: () => void, nextAt: () => number): (() => void) => {
  let timer: ReturnType<typeof setTimeout>;
  const run = (): void => {
    clearTimeout(timer);
    tick();
    timer = setTimeout(run, Math.min(Math.max(nextAt() - Date.now(), LEAST_MS), TICK_MS));
  };
  const deafen = listen(wakes, () => visible() && run());
  run();
  return () => {
    clearTimeout(timer);
    deafen();
  };
};
