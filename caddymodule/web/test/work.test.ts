// @vitest-environment node
import { createHash, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import * as source from "../client/work.js";

const built = (await import(new URL("../dist/work.js", import.meta.url).href)) as typeof source;

/** Text that the server may write: what base64url and numbers are made of, and full stops. */
const someText = (length: number): string => randomBytes(length).toString("base64url").slice(0, length).replaceAll("_", ".");
const hex = (state: Int32Array): string => Buffer.from(Int32Array.from(state).buffer).swap32().toString("hex");
const digest = (text: string): Buffer => createHash("sha256").update(text, "latin1").digest();
const zeroBits = (sum: Buffer): number => [...sum].map((byte) => byte.toString(2).padStart(8, "0")).join("").indexOf("1");

for (const [name, { sha256, solve }] of Object.entries({ source, built })) {
  describe(`SHA-256, ${name}`, () => {
    // FIPS 180-2, appendix B, and the empty message of NIST's CAVP.
    it.each([
      ["", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
      ["abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
      ["abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"],
      ["a".repeat(1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"],
    ])("knows the answer for %.9s", (text, answer) => {
      expect(hex(sha256(text))).toBe(answer);
    });

    it("is that of node:crypto at every length of three blocks", () => {
      for (let length = 0; length <= 200; length++) {
        const text = someText(length);
        expect(hex(sha256(text)), text).toBe(digest(text).toString("hex"));
      }
    });
  });

  describe(`solve, ${name}`, () => {
    it("finds what the server takes, for challenges of any length", async () => {
      // As puzzle.go reads it: the challenge, a full stop, and 1 to 20 letters, digits, - or _.
      for (let length = 0; length <= 130; length++) {
        const challenge = someText(length);
        const proof = await solve({ challenge, bits: 8 });
        expect(proof.slice(0, length + 1)).toBe(challenge + ".");
        expect(proof.slice(length + 1)).toMatch(/^[\w-]{1,20}$/);
        expect(zeroBits(digest(proof)), proof).toBeGreaterThanOrEqual(8);
      }
    });

    it("does the work that the server asks for at first", async () => {
      const challenge = `16.1798761900.${someText(22)}.${someText(43)}`;
      expect(zeroBits(digest(await solve({ challenge, bits: 16 })))).toBeGreaterThanOrEqual(16);
    });

    it("refuses what would take hours, and what is no number", async () => {
      await expect(solve({ challenge: "x", bits: 25 })).rejects.toThrow("25 bits");
      await expect(solve({ challenge: "x", bits: NaN })).rejects.toThrow("NaN bits");
    });

    it("lets others have their turn, and stops when it is told to", async () => {
      let turns = 0;
      const clock = setInterval(() => turns++, 1);
      const stop = new AbortController();
      setTimeout(() => stop.abort(new Error("enough")), 200);
      await expect(solve({ challenge: "x", bits: 24 }, stop.signal)).rejects.toThrow("enough");
      clearInterval(clock);
      expect(turns).toBeGreaterThan(5);
    });
  });
}

it("the roots behind the constants are far from where another last bit would change them", () => {
  const primes = [...Array(312).keys()].filter((n) => n > 1 && [...Array(n).keys()].every((d) => d < 2 || n % d));
  expect(primes.length).toBe(64);
  const behind = [...primes.map(Math.cbrt), ...primes.slice(0, 8).map(Math.sqrt)].map((root) => ((root % 1) * 2 ** 32) % 1);
  // The last bit of a number below 8 is 2^-50, here 2^-18.
  for (const rest of behind) expect(Math.min(rest, 1 - rest)).toBeGreaterThan(2 ** -12);
});
