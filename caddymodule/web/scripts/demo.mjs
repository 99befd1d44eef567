// Writes ../demo/dist: the page of Caddyfile.example, which is committed and embedded.
// A first argument names another folder to write to.
import { copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const dist = process.argv[2] ?? join(root, "../demo/dist");
mkdirSync(dist, { recursive: true });

// React's license must stay with it.
await build({
  absWorkingDir: root, entryPoints: ["demo/demo.tsx"], outfile: join(dist, "demo.js"), bundle: true, minify: true, format: "esm",
  target: "es2022", charset: "utf8", jsx: "automatic", legalComments: "inline", logLevel: "warning",
  define: { "process.env.NODE_ENV": '"production"' },
});
for (const name of ["index.html", "demo.css", "icon.svg"]) copyFileSync(join(root, "demo", name), join(dist, name));
