// Proof of work, in plain script: crypto.subtle does not exist on plain http, and is asynchronous for every hash. A
// module of its own, because hardly anybody is ever asked for work.

/** What the server wants to be worked on, as proof_of_work of a refusal says it. */
export interface Puzzle {
  challenge: string;
  bits: number;
}

/** The server asks for 16 to 20. Nobody else shall keep a browser busy for hours. */
const MOST_BITS = 24;
/** So many hashes take some milliseconds, on a slow phone too: in between the page lives. */
const SLICE = 4_096;

const primes: number[] = [];
for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime)) primes.push(n);
/** The first 32 bits behind the point. The ones after them are far from a carry, so the last bit of a root is no matter. */
const fraction = (root: number): number => (root % 1) * 2 ** 32;
const constants = Int32Array.from(primes, (prime) => fraction(Math.cbrt(prime)));
const initial = Int32Array.from(primes.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));

const rotate = (x: number, bits: number): number => (x >>> bits) | (x << (32 - bits));

const schedule = new Int32Array(64);

/** Takes one block of 16 words into the state (FIPS 180-4, section 6.2.2). Plain assignments, because it runs a million times. */
const compress = (state: Int32Array, words: Int32Array, from: number): void => {
  let a = state[0]!, b = state[1]!, c = state[2]!, d = state[3]!, e = state[4]!, f = state[5]!, g = state[6]!, h = state[7]!;
  for (let i = 0; i < 64; i++) {
    let word: number;
    if (i < 16) word = words[from + i]!;
    else {
      const x = schedule[i - 15]!;
      const y = schedule[i - 2]!;
      word = schedule[i - 16]! + schedule[i - 7]! + (rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3)) + (rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10));
    }
    schedule[i] = word;
    const t = (h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + constants[i]! + word) | 0;
    const u = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g, g = f, f = e, e = (d + t) | 0, d = c, c = b, b = a, a = (t + u) | 0;
  }
  state[0]! += a, state[1]! += b, state[2]! += c, state[3]! += d, state[4]! += e, state[5]! += f, state[6]! += g, state[7]! += h;
};

/** Takes all blocks from one on into the state. */
const absorb = (state: Int32Array, words: Int32Array, from = 0): Int32Array => {
  for (; from < words.length; from += 16) compress(state, words, from);
  return state;
};

/** A text in ASCII as blocks: with the mark at its end and its length in bits (section 5.1.1). */
const blocksOf = (text: string): Int32Array => {
  const words = new Int32Array(((text.length + 72) >> 6) * 16);
  for (let i = 0; i <= text.length; i++) words[i >> 2]! |= (i < text.length ? text.charCodeAt(i) : 0x80) << (24 - (i & 3) * 8);
  words[words.length - 1] = text.length * 8;
  return words;
};

/** The hash of a text in ASCII, as eight words. */
export const sha256 = (text: string): Int32Array => absorb(initial.slice(), blocksOf(text));

/** Four letters, a to p, for the lowest 16 bits of a number. */
const letters = (n: number): number => 0x61616161 + (((n & 0xf000) << 12) | ((n & 0xf00) << 8) | ((n & 0xf0) << 4) | (n & 0xf));

/** Lets everything else have its turn. A timer would do so for 4 ms, and in a hidden tab for a second. */
const pause = (): Promise<void> =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });

/** Finds the text to send as proof. */
export const solve = async ({ challenge, bits }: Puzzle, signal?: AbortSignal): Promise<string> => {
  // What changes from try to try are two whole words. All blocks before them are the same each time.
  const start = challenge + "." + "-".repeat(-(challenge.length + 1) & 3);
  const words = blocksOf(start + "a".repeat(8));
  const at = start.length / 4;
  const block = at & ~15;
  const before = absorb(initial.slice(), words.subarray(0, block));
  const state = new Int32Array(8);
  for (let n = 0; bits <= MOST_BITS; n++) {
    if (n % SLICE === 0) {
      await pause();
      signal?.throwIfAborted();
    }
    words[at] = letters(n >>> 16);
    words[at + 1] = letters(n);
    state.set(before);
    if (Math.clz32(absorb(state, words, block)[0]!) >= bits) {
      return start + [28, 24, 20, 16, 12, 8, 4, 0].map((shift) => String.fromCharCode(97 + ((n >>> shift) & 15))).join("");
    }
  }
  throw new Error(`${bits} bits are too much work`);
};
