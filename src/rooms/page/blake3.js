// BLAKE3 (the hash mode of its specification), for content that comes in pieces.

const IV = Int32Array.of(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19);
const PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const [CHUNK_START, CHUNK_END, PARENT, ROOT] = [1, 2, 4, 8];
const [CHUNK, BLOCK, WORDS] = [1024, 64, 16];

// The order in which each of the seven rounds takes the words of a block.
const ORDER = new Uint8Array(7 * WORDS);
for (let i = 0; i < ORDER.length; i++) ORDER[i] = i < WORDS ? i : ORDER[i - WORDS - (i % WORDS) + PERMUTATION[i % WORDS]];

// Makes the next chaining value out of `value`, in its place, with the 16 words at `at`. Written out, with its state in
// variables: an array for it, or a function for the quarter rounds, makes it several times slower.
function compress(value, words, at, counter, length, flags) {
  let v0 = value[0], v1 = value[1], v2 = value[2], v3 = value[3], v4 = value[4], v5 = value[5], v6 = value[6], v7 = value[7];
  let v8 = IV[0], v9 = IV[1], v10 = IV[2], v11 = IV[3];
  let v12 = counter | 0, v13 = (counter / 2 ** 32) | 0, v14 = length, v15 = flags;
  for (let round = 0; round < ORDER.length; round += WORDS) {
    v0 = (v0 + v4 + words[at + ORDER[round + 0]]) | 0; v12 ^= v0; v12 = (v12 >>> 16) | (v12 << 16);
    v8 = (v8 + v12) | 0; v4 ^= v8; v4 = (v4 >>> 12) | (v4 << 20);
    v0 = (v0 + v4 + words[at + ORDER[round + 1]]) | 0; v12 ^= v0; v12 = (v12 >>> 8) | (v12 << 24);
    v8 = (v8 + v12) | 0; v4 ^= v8; v4 = (v4 >>> 7) | (v4 << 25);
    v1 = (v1 + v5 + words[at + ORDER[round + 2]]) | 0; v13 ^= v1; v13 = (v13 >>> 16) | (v13 << 16);
    v9 = (v9 + v13) | 0; v5 ^= v9; v5 = (v5 >>> 12) | (v5 << 20);
    v1 = (v1 + v5 + words[at + ORDER[round + 3]]) | 0; v13 ^= v1; v13 = (v13 >>> 8) | (v13 << 24);
    v9 = (v9 + v13) | 0; v5 ^= v9; v5 = (v5 >>> 7) | (v5 << 25);
    v2 = (v2 + v6 + words[at + ORDER[round + 4]]) | 0; v14 ^= v2; v14 = (v14 >>> 16) | (v14 << 16);
    v10 = (v10 + v14) | 0; v6 ^= v10; v6 = (v6 >>> 12) | (v6 << 20);
    v2 = (v2 + v6 + words[at + ORDER[round + 5]]) | 0; v14 ^= v2; v14 = (v14 >>> 8) | (v14 << 24);
    v10 = (v10 + v14) | 0; v6 ^= v10; v6 = (v6 >>> 7) | (v6 << 25);
    v3 = (v3 + v7 + words[at + ORDER[round + 6]]) | 0; v15 ^= v3; v15 = (v15 >>> 16) | (v15 << 16);
    v11 = (v11 + v15) | 0; v7 ^= v11; v7 = (v7 >>> 12) | (v7 << 20);
    v3 = (v3 + v7 + words[at + ORDER[round + 7]]) | 0; v15 ^= v3; v15 = (v15 >>> 8) | (v15 << 24);
    v11 = (v11 + v15) | 0; v7 ^= v11; v7 = (v7 >>> 7) | (v7 << 25);
    v0 = (v0 + v5 + words[at + ORDER[round + 8]]) | 0; v15 ^= v0; v15 = (v15 >>> 16) | (v15 << 16);
    v10 = (v10 + v15) | 0; v5 ^= v10; v5 = (v5 >>> 12) | (v5 << 20);
    v0 = (v0 + v5 + words[at + ORDER[round + 9]]) | 0; v15 ^= v0; v15 = (v15 >>> 8) | (v15 << 24);
    v10 = (v10 + v15) | 0; v5 ^= v10; v5 = (v5 >>> 7) | (v5 << 25);
    v1 = (v1 + v6 + words[at + ORDER[round + 10]]) | 0; v12 ^= v1; v12 = (v12 >>> 16) | (v12 << 16);
    v11 = (v11 + v12) | 0; v6 ^= v11; v6 = (v6 >>> 12) | (v6 << 20);
    v1 = (v1 + v6 + words[at + ORDER[round + 11]]) | 0; v12 ^= v1; v12 = (v12 >>> 8) | (v12 << 24);
    v11 = (v11 + v12) | 0; v6 ^= v11; v6 = (v6 >>> 7) | (v6 << 25);
    v2 = (v2 + v7 + words[at + ORDER[round + 12]]) | 0; v13 ^= v2; v13 = (v13 >>> 16) | (v13 << 16);
    v8 = (v8 + v13) | 0; v7 ^= v8; v7 = (v7 >>> 12) | (v7 << 20);
    v2 = (v2 + v7 + words[at + ORDER[round + 13]]) | 0; v13 ^= v2; v13 = (v13 >>> 8) | (v13 << 24);
    v8 = (v8 + v13) | 0; v7 ^= v8; v7 = (v7 >>> 7) | (v7 << 25);
    v3 = (v3 + v4 + words[at + ORDER[round + 14]]) | 0; v14 ^= v3; v14 = (v14 >>> 16) | (v14 << 16);
    v9 = (v9 + v14) | 0; v4 ^= v9; v4 = (v4 >>> 12) | (v4 << 20);
    v3 = (v3 + v4 + words[at + ORDER[round + 15]]) | 0; v14 ^= v3; v14 = (v14 >>> 8) | (v14 << 24);
    v9 = (v9 + v14) | 0; v4 ^= v9; v4 = (v4 >>> 7) | (v4 << 25);
  }
  value[0] = v0 ^ v8; value[1] = v1 ^ v9; value[2] = v2 ^ v10; value[3] = v3 ^ v11;
  value[4] = v4 ^ v12; value[5] = v5 ^ v13; value[6] = v6 ^ v14; value[7] = v7 ^ v15;
}

function join(left, right, root) {
  const words = new Int32Array(WORDS);
  words.set(left);
  words.set(right, 8);
  const value = IV.slice();
  compress(value, words, 0, 0, BLOCK, PARENT | root);
  return value;
}

export class Blake3 {
  #chunk = new Uint8Array(CHUNK);
  #words = new Int32Array(this.#chunk.buffer); // Little-endian, as every browser's machine is.
  #filled = 0;
  #chunks = 0;
  #trees = []; // Chaining values of whole subtrees, the largest first.

  update(bytes) {
    for (let at = 0; at < bytes.length;) {
      // The last chunk may be the root, so a chunk is closed only when more comes.
      if (this.#filled === CHUNK) {
        let value = this.#close(0);
        for (let count = ++this.#chunks; count % 2 === 0; count /= 2) value = join(this.#trees.pop(), value, 0);
        this.#trees.push(value);
        this.#filled = 0;
      }
      const part = bytes.subarray(at, at + CHUNK - this.#filled);
      this.#chunk.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
    }
    return this;
  }

  // The hash of all so far, 32 bytes. More may follow.
  digest() {
    let value = this.#close(this.#trees.length === 0 ? ROOT : 0);
    for (let i = this.#trees.length - 1; i >= 0; i--) value = join(this.#trees[i], value, i === 0 ? ROOT : 0);
    return new Uint8Array(value.buffer);
  }

  hex() {
    return hex(this.digest());
  }

  #close(root) {
    this.#chunk.fill(0, this.#filled);
    const last = Math.max(0, Math.ceil(this.#filled / BLOCK) - 1);
    const value = IV.slice();
    for (let block = 0; block <= last; block++) {
      const flags = (block === 0 ? CHUNK_START : 0) | (block === last ? CHUNK_END | root : 0);
      const length = block === last ? this.#filled - block * BLOCK : BLOCK;
      compress(value, this.#words, block * WORDS, this.#chunks, length, flags);
    }
    return value;
  }
}

export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
