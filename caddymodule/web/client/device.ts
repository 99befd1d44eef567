import { get, set } from "./storage.js";
import type { Device } from "./types.js";
import type { World } from "./world.js";

/** What Chromium tells of itself instead of the User-Agent, which it froze. */
interface ClientHints {
  getHighEntropyValues(hints: string[]): Promise<{ platform?: string; platformVersion?: string }>;
}

/** Describes this browser, such as "Chrome on Windows". It is a label: nobody is recognised by it. */
export const describeDevice = async (w: World): Promise<Partial<Device>> => {
  const { userAgent, userAgentData } = navigator as Navigator & { userAgentData?: ClientHints };
  const hints = await userAgentData?.getHighEntropyValues(["platformVersion"]).catch(() => undefined);
  const find = (mark: RegExp): string | undefined => mark.exec(userAgent)?.[0];
  // Every browser also says that it is the older ones.
  const browser = find(/Edg|Firefox/) ?? find(/Chrome|Safari/) ?? "Browser";
  const platform = hints?.platform || (find(/Android|iP\w+|Windows|Mac/) ?? "Linux");
  const platform_version = hints?.platformVersion ?? find(/ [\d._]+(?=[;)])/) ?? "";
  const device_name = browser.replace(/Edg$/, "Edge") + " on " + platform;
  return { device_type: "web", device_name, platform, platform_version, device_id: deviceID(w), ...w.settings.device };
};

/** The id of this browser. It outlives sign-outs, so that a new sign-in takes the place of the old session. */
const deviceID = (w: World): string => {
  let id = get(w, "device_id");
  if (!id || !/^[\w-]{1,64}$/.test(id)) {
    // randomUUID does not exist on plain http.
    id = crypto.getRandomValues(new Uint32Array(3)).join("");
    set(w, "device_id", id);
  }
  return id;
};
