// @vitest-environment node
// What leaves the house: sizes, committed bundles, the npm package, and its types in the projects of others.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = resolve(import.meta.dirname, "..");
const scratch = mkdtempSync(join(tmpdir(), "sidegate-client-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const run = (command: string, args: string[], cwd: string): string => execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
const tsc = join(root, "node_modules/typescript/bin/tsc");
const sources = readdirSync(join(root, "client")).map((name) => [name, readFileSync(join(root, "client", name), "utf8")] as const);

describe("the bundles", () => {
  for (const name of ["client.js", "client.iife.js"]) {
    it(`${name} has at most 5 KB`, () => {
      expect(gzipSync(readFileSync(join(root, "dist", name)), { level: 9 }).length).toBeLessThanOrEqual(5 * 1024);
    });
  }

  it("what does work that the server asks for has at most 1 KB, and is in none of them", () => {
    expect(gzipSync(readFileSync(join(root, "dist/work.js")), { level: 9 }).length).toBeLessThanOrEqual(1024);
    for (const name of ["client.js", "client.iife.js"]) expect(readFileSync(join(root, "dist", name), "utf8"), name).toContain('import("./work.js")');
  });

  it("React's binding has at most 1.5 KB", async () => {
    const { outputFiles } = await build({
      entryPoints: [join(root, "client/react.ts")], bundle: true, minify: true, format: "esm", target: "es2022", external: ["react"], write: false,
    });
    expect(gzipSync(outputFiles[0]!.contents, { level: 9 }).length).toBeLessThanOrEqual(1.5 * 1024);
  });

  it("are built from these sources, byte for byte", () => {
    run(process.execPath, [join(root, "scripts/build.mjs"), "bundles", scratch], root);
    for (const name of ["client.js", "client.iife.js", "work.js"]) {
      expect(readFileSync(join(scratch, name), "utf8"), `${name}: run npm run build and commit it`).toBe(readFileSync(join(root, "dist", name), "utf8"));
    }
  });

  it("show the demo of these sources", () => {
    run(process.execPath, [join(root, "scripts/demo.mjs"), scratch], root);
    for (const name of readdirSync(join(root, "../demo/dist"))) {
      expect(readFileSync(join(scratch, name)).equals(readFileSync(join(root, "../demo/dist", name))), `${name}: run npm run build and commit it`).toBe(true);
    }
  });

  it("make one global of the script without modules", () => {
    const Sidegate = new Function(readFileSync(join(root, "dist/client.iife.js"), "utf8") + ";return Sidegate")() as object;
    expect(Object.keys(Sidegate).sort()).toEqual(["AuthError", "createAuthClient"]);
  });

  it("need no eval, no markup and no inline style", () => {
    for (const [name, text] of sources) expect(text, name).not.toMatch(/\beval\(|new Function|innerHTML|document\.write|insertAdjacent/);
  });
});

describe("the sources", () => {
  it("have no any", () => {
    for (const [name, text] of sources) expect(text.replace(/\/\*[^]*?\*\/|\/\/.*/g, ""), name).not.toMatch(/\bany\b/);
  });

  it("use a member of World under no other hat", () => {
    const world = sources.find(([name]) => name === "world.ts")![1];
    const members = [...world.match(/interface World \{[^]*?\n\}/)![0].matchAll(/^ {2}(\w+)\??:/gm)].map((match) => match[1]!);
    expect(members.length).toBeGreaterThan(10);
    for (const [name, text] of sources.filter(([name]) => name !== "react.ts")) {
      for (const member of members) {
        const others = [...text.matchAll(new RegExp(`([\\w)\\]]+)\\??\\.${member}\\b`, "g"))].map((match) => match[1]).filter((object) => object !== "w");
        expect(others, `${name}: .${member}`).toEqual([]);
      }
    }
  });
});

describe("the npm package", () => {
  const consumer = join(scratch, "consumer");
  const installed = join(consumer, "node_modules/@sidegate/client");
  let files: string[];

  beforeAll(() => {
    const [packed] = JSON.parse(run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", scratch], root)) as { filename: string; files: { path: string }[] }[];
    files = packed!.files.map(({ path }) => path).sort();
    mkdirSync(installed, { recursive: true });
    run("tar", ["-xzf", join(scratch, packed!.filename), "-C", installed, "--strip-components=1"], scratch);
    for (const name of ["react", "@types"]) symlinkSync(join(root, "node_modules", name), join(consumer, "node_modules", name));
    cpSync(join(root, "test/types"), consumer, { recursive: true });
    for (const kind of ["esm", "cjs"]) cpSync(join(consumer, "app.ts"), join(consumer, kind, "app.ts"));
  }, 60_000);

  it("holds the bundles, the modules and their types, and nothing else", () => {
    const other = files.filter((path) => !/^dist\/npm\/(esm|cjs)\/(\w+\.d\.ts|index\.js|react\.js|work\.js|package\.json)$/.test(path));
    expect(other).toEqual(["README.md", "dist/client.iife.js", "dist/client.js", "dist/work.js", "package.json"]);
    const { dependencies, peerDependencies } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as Record<string, unknown>;
    expect([dependencies, peerDependencies]).toEqual([undefined, { react: ">=18" }]);
  });

  for (const kind of ["esm", "cjs"]) {
    it(`has types for ${kind} projects`, () => {
      run(process.execPath, [tsc, "-p", join(consumer, kind)], consumer);
    }, 60_000);

    it(`runs in ${kind} projects`, () => {
      const load = kind === "esm" ? ["--input-type=module", "-e", "import * as c from '@sidegate/client'; import * as r from '@sidegate/client/react'; console.log(Object.keys(c).concat(Object.keys(r)).join())"]
        : ["-e", "const c = require('@sidegate/client'), r = require('@sidegate/client/react'); console.log(Object.keys(c).concat(Object.keys(r)).join())"];
      const names = run(process.execPath, load, consumer).trim().split(",").sort();
      expect(names).toEqual(["AuthError", "AuthProvider", "RequireAuth", "SignedIn", "SignedOut", "createAuthClient", "useAuth", "usePhoneLogin", "useSession", "useSessions"]);
    });

    it(`does the work that the server asks for in ${kind} projects`, () => {
      const load = kind === "esm" ? ["--input-type=module", "-e", "import { createAuthClient } from '@sidegate/client';" + asked] : ["-e", "const { createAuthClient } = require('@sidegate/client');" + asked];
      expect(run(process.execPath, load, consumer)).toBe("worked\n");
    });
  }

  it("leaves that work in a file of its own when it is bundled, and the file works", async () => {
    const folder = join(consumer, "bundle");
    const stdin = { contents: "import { createAuthClient } from '@sidegate/client';" + asked, resolveDir: consumer };
    await build({ stdin, bundle: true, splitting: true, minify: true, format: "esm", outdir: folder, outExtension: { ".js": ".mjs" } });
    const app = join(folder, "stdin.mjs");
    expect(readFileSync(app, "utf8")).not.toContain("too much work");
    expect(run(process.execPath, [app], consumer)).toBe("worked\n");
  });
});

/** A program that is asked for work once, and prints whether it has done some. */
const asked = `
  globalThis.fetch = async (_, { body }) => {
    const { proof } = JSON.parse(body);
    const headers = { "Sidegate-Error": "rate_limited" };
    if (!proof) return Response.json({ proof_of_work: { challenge: "x", bits: 8 } }, { status: 429, headers });
    return Response.json({ challenge_id: proof });
  };
  createAuthClient().sendCode({ phone: "+46701234567" }).then(({ challenge_id }) => console.log(challenge_id.startsWith("x.") ? "worked" : challenge_id));
`;
