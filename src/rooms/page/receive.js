// The receiving end of `transfer.js`: hears what there is, asks whether it is welcome, takes and checks it.

import { Blake3, hex } from './blake3.js';
import { Spool } from './spool.js';
import { Failure, HEADER, Kind, Line, SEQUENCE, protocol, run, shown } from './transfer.js';

const WINDOW = 8 << 20;
const TELL_EVERY = 256 << 10;
const MOST_ENTRIES = 10_000;
const MOST_PATH = 4096;
const ZEROS = new Uint8Array(1 << 20);

// `consent(entries, total)` says whether it is welcome; total is null when a size is not known. `report(done, total)` hears of
// bytes, `take(path, blob)` gets each file that is whole and right, `missing(path, why)` hears of each that will not be.
export function receive(channel, { signal, consent, report, take, missing }) {
  const line = new Line(channel, WINDOW * 2);
  return run(line, signal, async () => {
    await line.greet('receiver');
    const entries = await manifest(line);
    const files = entries.filter((entry) => entry.kind !== 'folder');
    const sized = files.every((entry) => entry.size !== undefined);
    const total = sized ? files.reduce((sum, entry) => sum + entry.size, 0) : null;
    if (!(await line.meanwhile(consent(files, total)))) throw new Failure('declined', 'Declined.');
    if ((total ?? 0) > (await Spool.room())) throw new Failure('no-space', 'The browser has no room for so much. Use rtckit receive-file for it.');
    line.say({ type: 'go', window: WINDOW });
    const taking = new Taking(line, entries, { report: (bytes) => report(bytes, total), take, missing });
    try {
      await taking.all();
    } catch (error) {
      await taking.discard();
      throw error;
    }
    line.say({ type: 'complete' });
    await Promise.race([line.hear('bye').catch(() => {}), new Promise((late) => setTimeout(late, 2000))]);
    return files.length;
  });
}

async function manifest(line) {
  const [entries, paths] = [[], new Map()];
  for (;;) {
    const message = await line.hear('manifest', 'manifest-end');
    if (message.type === 'manifest-end') {
      if (message.entries !== entries.length) throw protocol('its list is not as long as it says');
      return entries;
    }
    if (!Array.isArray(message.entries)) throw protocol('its list is none');
    for (const entry of message.entries) {
      const why = fault(entry, paths);
      if (why) throw new Failure('manifest', `The list of files cannot be taken: ${why}: ${shown(entry?.path, 80)}`);
      if (entries.length === MOST_ENTRIES) throw new Failure('manifest', `More than ${MOST_ENTRIES} files are too many for a page. Pack them into one, or use rtckit receive-file.`);
      paths.set(entry.path, entry.kind);
      entries.push({ path: entry.path, kind: entry.kind, size: entry.size ?? undefined });
    }
  }
}

// Why an entry is not acceptable, after those of `before`.
function fault(entry, before) {
  const { path, size, kind } = entry ?? {};
  if (typeof path !== 'string' || path === '' || path.length > MOST_PATH || path.includes('\0')) return 'not a name';
  const parts = path.split('/');
  if (parts.some((part) => part === '' || part === '.' || part === '..')) return 'a path that leads elsewhere';
  if (before.has(path)) return 'the same name twice';
  if (kind !== undefined && kind !== 'file' && kind !== 'folder') return 'neither a file nor a folder';
  if (size !== undefined && size !== null && !(Number.isSafeInteger(size) && size >= 0)) return 'a size that no file has';
  return null;
}

class Taking {
  #line;
  #entries;
  #say;
  #left;
  #sequence = 0n;
  #taken = 0;
  #told = 0;
  #bytes = 0;
  // The file that is coming: {id, offset, hash, spool}.
  #file = null;
  #settled = new Set();

  constructor(line, entries, say) {
    this.#line = line;
    this.#entries = entries;
    this.#say = say;
    this.#left = entries.filter((entry) => entry.kind !== 'folder').length;
  }

  async all() {
    while (this.#left > 0) {
      const message = await this.#line.next();
      if (message instanceof ArrayBuffer) await this.#message(message);
      else if (message.type === 'bye') throw protocol('it leaves before everything was sent');
    }
    this.#progress();
  }

  async discard() {
    await this.#file?.spool.discard();
  }

  async #message(data) {
    const view = new DataView(data);
    if (data.byteLength < SEQUENCE || view.getBigUint64(0) !== this.#sequence++) throw protocol('a message is missing');
    for (let at = SEQUENCE; at < data.byteLength;) {
      if (data.byteLength - at < HEADER) throw protocol('a record is cut');
      const [kind, id, offset, length] = [view.getUint8(at), view.getUint32(at + 4), Number(view.getBigUint64(at + 8)), view.getUint32(at + 16)];
      at += HEADER;
      if (data.byteLength - at < length) throw protocol('a record is longer than its message');
      await this.#record(kind, id, offset, new Uint8Array(data, at, length));
      at += length;
    }
    if (this.#taken >= this.#told + TELL_EVERY) this.#progress();
  }

  #progress() {
    this.#told = this.#taken;
    this.#line.say({ type: 'progress', bytes: this.#taken });
    this.#say.report(this.#bytes);
  }

  async #record(kind, id, offset, payload) {
    const entry = this.#entries[id];
    if (!entry || entry.kind === 'folder' || this.#settled.has(id)) throw protocol('content of a file that is not due');
    if (this.#file !== null && this.#file.id !== id) throw protocol('content of two files is mixed');
    this.#file ??= { id, offset: 0, hash: new Blake3(), spool: await Spool.open() };
    const file = this.#file;
    if (kind !== Kind.FAIL && offset !== file.offset) throw protocol('content comes out of its order');
    switch (kind) {
      case Kind.DATA:
        this.#taken += payload.length;
        await this.#append(entry, payload);
        break;
      case Kind.HOLE: {
        if (payload.length !== 8) throw protocol('a hole without a length');
        let length = Number(new DataView(payload.buffer, payload.byteOffset).getBigUint64(0));
        if (file.offset + length > (entry.size ?? 0)) throw protocol('a hole beyond the end of its file');
        for (; length > 0; length -= ZEROS.length) await this.#append(entry, ZEROS.subarray(0, Math.min(length, ZEROS.length)));
        break;
      }
      case Kind.END: {
        const right = (entry.size === undefined || entry.size === file.offset) && file.hash.hex() === hex(payload);
        if (!right) throw new Failure('integrity', `${shown(entry.path)} arrived changed. Send it again.`);
        const blob = await stored(file.spool.finish());
        this.#settle(id);
        this.#say.take(entry.path, blob);
        this.#line.say({ type: 'done', files: [id] });
        break;
      }
      case Kind.FAIL:
        await file.spool.discard();
        this.#settle(id);
        this.#say.missing(entry.path, shown(new TextDecoder().decode(payload).split('\n')[1]));
        break;
      default:
        throw protocol('a record of an unknown kind');
    }
  }

  async #append(entry, bytes) {
    const file = this.#file;
    file.offset += bytes.length;
    this.#bytes += bytes.length;
    if (entry.size !== undefined && file.offset > entry.size) throw protocol('more content than the file has');
    file.hash.update(bytes);
    await stored(file.spool.write(bytes));
  }

  #settle(id) {
    this.#settled.add(id);
    this.#file = null;
    this.#left--;
  }
}

// What browsers say of a disk that is full.
async function stored(writing) {
  try {
    return await writing;
  } catch (error) {
    if (error.name === 'QuotaExceededError') throw new Failure('no-space', 'The browser has no room for more.');
    throw new Failure('write', `The browser cannot keep the file: ${error.message}`);
  }
}
