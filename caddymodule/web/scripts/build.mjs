// Writes dist/: the three bundles that the server embeds, which are committed, and the modules of the npm package.
//
//	node scripts/build.mjs                    all
//	node scripts/build.mjs bundles [FOLDER]   the bundles
//	node scripts/build.mjs npm [FOLDER]       the npm package
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "terser";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const [part, folder = join(root, "dist")] = process.argv.slice(2);
const dist = resolve(folder);
const bundle = { absWorkingDir: root, bundle: true, target: "es2022", charset: "utf8", legalComments: "none", logLevel: "warning" };
/** A file of its own beside each of the others, which load it when it is needed. */
const apart = ["./work.js"];

const buildBundles = async () => {
  // Only the members of World are shortened by name; its comment says what they must not be.
  const world = readFileSync(join(root, "client/world.ts"), "utf8").match(/interface World \{[^]*?\n\}/)[0];
  const members = [...world.matchAll(/^ {2}(\w+)\??:/gm)].map((match) => match[1]);
  const code = await minified("client/index.ts", { external: apart, mangleProps: new RegExp(`^(?:${members.join("|")})$`) });
  mkdirSync(dist, { recursive: true });
  writeFileSync(join(dist, "client.js"), code);
  writeFileSync(join(dist, "work.js"), await minified("client/work.ts"));

  // For pages without modules: what is exported becomes the members of one global.
  const [body, exported] = code.split(/export\{(.*)\};?$/);
  const globals = exported.split(",").map((one) => one.split(" as ").reverse().join(":"));
  writeFileSync(join(dist, "client.iife.js"), `var Sidegate=(()=>{${body}return{${globals}}})();`);
};

const minified = async (entry, options) => {
  const { outputFiles } = await build({ ...bundle, entryPoints: [entry], format: "esm", minifySyntax: true, write: false, ...options });
  const compress = { passes: 5, unsafe: true, unsafe_arrows: true, pure_getters: true, keep_fargs: false };
  return (await minify(outputFiles[0].text, { module: true, ecma: 2022, compress })).code;
};

const buildPackage = async () => {
  rmSync(join(dist, "npm"), { recursive: true, force: true });
  const folders = { esm: join(dist, "npm/esm"), cjs: join(dist, "npm/cjs") };
  for (const [format, outdir] of Object.entries(folders)) {
    mkdirSync(outdir, { recursive: true });
    writeFileSync(join(outdir, "package.json"), JSON.stringify({ type: format === "esm" ? "module" : "commonjs", sideEffects: false }) + "\n");
    // For node, esbuild adds what tells Node the names that a CommonJS file exports: import() of one needs them.
    const platform = format === "cjs" ? "node" : "browser";
    await build({ ...bundle, entryPoints: ["client/index.ts", "client/react.ts", "client/work.ts"], format, platform, outdir, external: ["react", ...apart] });
  }
  execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", join(root, "tsconfig.build.json"), "--outDir", folders.esm], { stdio: "inherit" });
  for (const name of readdirSync(folders.esm)) {
    if (name.endsWith(".d.ts")) copyFileSync(join(folders.esm, name), join(folders.cjs, name));
  }
};

if (part !== "npm") await buildBundles();
if (part !== "bundles") await buildPackage();
