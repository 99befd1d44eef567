import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const inBrowser = {
  environment: "happy-dom",
  environmentOptions: { happyDOM: { url: "https://app.example.com/" } },
  restoreMocks: true,
  testTimeout: 30_000,
};
const behaviour = ["test/client.test.ts", "test/refresh.test.ts", "test/storage.test.ts", "test/access.test.ts", "test/activity.test.ts"];

// What is served has been minified and had names shortened: it passes the same tests as the source.
export default defineConfig({
  test: {
    pool: "threads",
    maxWorkers: 2,
    projects: [
      { test: { ...inBrowser, name: "source", include: ["test/*.test.ts"] } },
      {
        test: { ...inBrowser, name: "bundle", include: behaviour },
        resolve: { alias: [{ find: /^.*\/client\/index\.js$/, replacement: fileURLToPath(new URL("dist/client.js", import.meta.url)) }] },
      },
    ],
  },
});
