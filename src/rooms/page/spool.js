// Where received content waits until the user saves it: files private to this origin where the browser has them, which keeps
// them out of memory, else Blobs. Nothing outlives the page: what an earlier load left behind is removed.

const BATCH = 1 << 20;
const PREFIX = 'received-';

let folder = null;

// The private folder of this load of the page; null where there is none.
async function privateFolder() {
  try {
    const root = await navigator.storage.getDirectory();
    const name = PREFIX + Date.now() + '-' + crypto.getRandomValues(new Uint32Array(1))[0];
    // Held as long as the page lives, so that others can tell what is left over.
    await new Promise((held, failed) => {
      navigator.locks.request(name, () => { held(); return new Promise(() => {}); }).catch(failed);
    });
    const { held } = await navigator.locks.query();
    const inUse = new Set(held.map((lock) => lock.name));
    for await (const old of root.keys()) {
      if (old.startsWith(PREFIX) && !inUse.has(old)) await root.removeEntry(old, { recursive: true }).catch(() => {});
    }
    const made = await root.getDirectoryHandle(name, { create: true });
    // Safari has such folders, but not everywhere files in them that take writes here.
    await (await (await made.getFileHandle('probe', { create: true })).createWritable()).close();
    return made;
  } catch {
    return null;
  }
}

let count = 0;

export class Spool {
  #batch = [];
  #batched = 0;
  #blobs = [];
  #handle = null;
  #writable = null;

  static async open() {
    folder ??= privateFolder();
    const spool = new Spool();
    const place = await folder;
    if (place) {
      spool.#handle = await place.getFileHandle(String(++count), { create: true });
      spool.#writable = await spool.#handle.createWritable();
    }
    return spool;
  }

  // The bytes that there is room for, as far as the browser says.
  static async room() {
    try {
      const { quota, usage } = await navigator.storage.estimate();
      return quota - usage;
    } catch {
      return Infinity;
    }
  }

  // Waits for the disk now and then. The bytes must not change any more.
  async write(bytes) {
    this.#batch.push(bytes);
    this.#batched += bytes.length;
    if (this.#batched >= BATCH) await this.#flush();
  }

  // All of it, as one Blob.
  async finish() {
    await this.#flush();
    if (!this.#writable) return new Blob(this.#blobs);
    await this.#writable.close();
    return this.#handle.getFile();
  }

  async discard() {
    [this.#batch, this.#blobs] = [[], []];
    await this.#writable?.abort().catch(() => {});
  }

  async #flush() {
    const blob = new Blob(this.#batch);
    [this.#batch, this.#batched] = [[], 0];
    if (this.#writable) await this.#writable.write(blob);
    else this.#blobs.push(blob);
  }
}
