// @vitest-environment node
import { createElement as h } from "react";
import { renderToString } from "react-dom/server";
import { expect, it } from "vitest";
import { createAuthClient } from "../client/index.js";
import { AuthProvider, RequireAuth, SignedIn, SignedOut, usePhoneLogin, useSession, useSessions } from "../client/react.js";

it("a server renders every component without a window, and keeps nothing running", () => {
  expect(typeof window).toBe("undefined");
  const client = createAuthClient();
  const All = () => [useSession({ required: true }).status, usePhoneLogin().status, useSessions().status].join(" ");
  const html = renderToString(h(AuthProvider, { client }, h(All), h(SignedIn), h(SignedOut), h(RequireAuth, { fallback: "!" })));
  expect(html).toBe("loading phone loading<!-- -->!");
  client.start()();
  client.destroy();
});
