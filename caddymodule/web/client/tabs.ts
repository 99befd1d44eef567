import { lockName } from "./refresh.js";
import type { SignedOutReason } from "./types.js";
import type { World } from "./world.js";

/** What tabs tell each other: a session ended, or was replaced (no reason), or somebody signed in (nothing). */
export interface Message {
  out?: string;
  why?: SignedOutReason;
}

export const post = (w: World, message: Message): void => w.line?.postMessage(message);

export const hear = (w: World, listener: (message: Message) => void): (() => void) => {
  const channel = (w.line = new BroadcastChannel(lockName(w, "")));
  channel.onmessage = ({ data }: MessageEvent<Message>) => listener(data);
  return () => {
    channel.close();
    w.line = undefined;
  };
};
