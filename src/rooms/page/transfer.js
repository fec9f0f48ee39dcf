// Files over a data channel: version 1 of the protocol that the module documentation of `src/transfer/` describes, what its
// two ends share, and the sender. The receiver is in `receive.js`.

import { Blake3 } from './blake3.js';

export const LABEL = 'rtckit-transfer';
export const Kind = { DATA: 1, HOLE: 2, END: 3, START: 4, FAIL: 5 };
export const SEQUENCE = 8;
export const HEADER = 20;

const VERSION = 1;
const CONTENT = 64 << 10;
const READ = 1 << 20;
const BUFFERED = 1 << 20;
const MANIFEST = 12 << 10;
const LAST_WORDS = 2000;

// Why a transfer ended: `code` for the other side, the message for people.
export class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export const protocol = (message) => new Failure('protocol', `The other side breaks the protocol: ${message}.`);
const closed = () => new Failure(null, 'The connection ended before everything was there. Send it again.');

// The messages of a channel, one after the other.
export class Line {
  #channel;
  #inbox = [];
  #held = 0;
  #most;
  #closed = false;
  #flooded = false;
  #wake = [];

  // `most`: bytes that the other side may be ahead of what was taken.
  constructor(channel, most) {
    this.#channel = channel;
    this.#most = most;
    channel.binaryType = 'arraybuffer';
    channel.bufferedAmountLowThreshold = BUFFERED / 4;
    channel.onmessage = ({ data }) => {
      this.#held += data.byteLength ?? data.length;
      if (this.#held > this.#most) {
        this.#flooded = true;
        this.#inbox = [];
        channel.close();
      } else {
        this.#inbox.push(data);
      }
      this.#rouse();
    };
    channel.onopen = channel.onbufferedamountlow = () => this.#rouse();
    channel.onclose = channel.onerror = () => {
      this.#closed = true;
      this.#rouse();
    };
  }

  // Waits for a message, and leaves it there.
  async peek() {
    await this.#until(() => this.#inbox.length > 0 || this.#closed);
  }

  // The next message: a string that was JSON as the object it is, content as an ArrayBuffer.
  async next() {
    await this.peek();
    if (this.#flooded) throw protocol('it sends more than it was allowed to');
    if (this.#inbox.length === 0) throw closed();
    const data = this.#inbox.shift();
    this.#held -= data.byteLength ?? data.length;
    if (typeof data !== 'string') return data;
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      throw protocol('what it says is no JSON');
    }
    if (typeof message?.type !== 'string') throw protocol('what it says has no type');
    if (message.type === 'error') throw new Failure(null, told(message));
    return message;
  }

  // The next control message where no content is due. What a later version may say is passed over.
  async hear(...types) {
    for (;;) {
      const message = await this.next();
      if (message instanceof ArrayBuffer) throw protocol('content comes where none is due');
      if (types.includes(message.type)) return message;
      if (KNOWN.has(message.type)) throw protocol(`'${message.type}' comes where it is not due`);
    }
  }

  // Waits for a promise of ours, while the other side has nothing to say but that it is over.
  async meanwhile(promise) {
    for (;;) {
      const first = await Promise.race([promise.then((value) => ({ value })), this.peek()]);
      if (first) return first.value;
      const message = await this.next();
      if (message instanceof ArrayBuffer || KNOWN.has(message.type)) throw protocol('it does not wait for the answer');
    }
  }

  say(message) {
    if (this.#channel.readyState !== 'open') throw closed();
    this.#channel.send(JSON.stringify(message));
  }

  // Waits while much is under way.
  async send(bytes) {
    await this.#until(() => this.#channel.bufferedAmount <= BUFFERED || this.#closed);
    if (this.#channel.readyState !== 'open') throw closed();
    this.#channel.send(bytes);
  }

  // The sender, whose channel it is, speaks first: what Chromium is given to send by a channel of the other side before it
  // heard anything there, it may keep for good.
  async greet(role) {
    await this.#until(() => this.#channel.readyState !== 'connecting' || this.#closed);
    const ours = { type: 'hello', protocol: LABEL, version: VERSION, role, agent: 'rtckit page' };
    if (role === 'sender') this.say(ours);
    const hello = await this.hear('hello');
    if (role === 'receiver') this.say(ours);
    if (hello.protocol !== LABEL) throw protocol('it speaks something else');
    if (hello.version !== VERSION) throw new Failure('version', `The other side speaks version ${Number(hello.version)} of the protocol, this page version ${VERSION}. Use the same release of rtckit on both sides.`);
    if (hello.role === role) throw protocol(`both sides are the ${role}`);
  }

  // Tells the other side why this is over, where it does not know; closes the channel once that is out.
  async end(failure) {
    const channel = this.#channel;
    try {
      if (failure?.code) this.say({ type: 'error', code: failure.code, message: failure.message });
      channel.bufferedAmountLowThreshold = 0;
      const late = new Promise((done) => setTimeout(done, LAST_WORDS));
      await Promise.race([late, this.#until(() => channel.bufferedAmount === 0 || this.#closed)]);
    } catch {
      // It is closed already.
    }
    channel.close();
  }

  async #until(holds) {
    while (!holds()) await new Promise((wake) => this.#wake.push(wake));
  }

  #rouse() {
    this.#wake.splice(0).forEach((wake) => wake());
  }
}

const KNOWN = new Set(['hello', 'manifest', 'manifest-end', 'plan', 'go', 'progress', 'done', 'complete', 'bye']);

// One line fit to be shown, of what the other side wrote.
export function shown(text, most = 300) {
  const line = String(text ?? '').replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, '\ufffd');
  return line.length > most ? `${line.slice(0, most)}…` : line;
}

const told = ({ code, message }) => (code === 'declined' ? 'The other side does not want it.' : `The other side: ${shown(message)}`);

// Fails once the user cancels.
export const cancelled = (signal) => new Promise((_, cancel) => {
  const abort = () => cancel(new Failure('cancelled', 'Cancelled.'));
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort, { once: true });
});

// Runs one end of a transfer; `signal` cancels it. The channel is closed when this returns or throws a `Failure`.
export async function run(line, signal, work) {
  let failure;
  try {
    return await Promise.race([work(), cancelled(signal)]);
  } catch (error) {
    failure = error instanceof Failure ? error : new Failure('other', String(error.message ?? error));
    throw failure;
  } finally {
    await line.end(failure);
  }
}

// Sends `files`, each {path, file}, once that promise holds. `report(done, total)` hears of the bytes that arrived.
export function send(channel, maxMessage, files, { signal, report }) {
  const line = new Line(channel, 4 << 20);
  return run(line, signal, async () => {
    await line.greet('sender');
    files = await line.meanwhile(files);
    await offer(line, files);
    const total = files.reduce((sum, { file }) => sum + file.size, 0);
    const sending = new Sending(line, maxMessage, files, (bytes) => report(bytes, total));
    await sending.hearPlan();
    const pumping = sending.pump();
    const done = await Promise.race([sending.listen(), pumping.then(() => new Promise(() => {}))]);
    line.say({ type: 'bye' });
    return done;
  });
}

async function offer(line, files) {
  let [batch, size] = [[], 0];
  for (const { path, file } of files) {
    const seconds = Math.floor(file.lastModified / 1000);
    const entry = { path, kind: 'file', size: file.size, modified: { seconds, nanoseconds: (file.lastModified - seconds * 1000) * 1e6 } };
    const length = path.length * 3 + 160;
    if (size + length > MANIFEST && batch.length > 0) {
      line.say({ type: 'manifest', entries: batch });
      [batch, size] = [[], 0];
    }
    batch.push(entry);
    size += length;
  }
  line.say({ type: 'manifest', entries: batch });
  line.say({ type: 'manifest-end', entries: files.length });
}

class Sending {
  #line;
  #files;
  #report;
  #buffer;
  #view;
  #at = 0;
  #sequence = 0;
  #content = 0;
  #sent = 0;
  #taken = 0;
  #window = Infinity;
  #wake = () => {};
  #skip = new Set();
  #have = new Map();
  #chunk;

  constructor(line, maxMessage, files, report) {
    const room = Math.min(maxMessage || Infinity, CONTENT + 1024) - SEQUENCE - HEADER;
    if (room < 1100) throw protocol('it takes no messages of a useful size');
    this.#chunk = Math.min(CONTENT, room);
    this.#buffer = new Uint8Array(SEQUENCE + HEADER + room);
    this.#view = new DataView(this.#buffer.buffer);
    this.#line = line;
    this.#files = files;
    this.#report = report;
  }

  async hearPlan() {
    for (;;) {
      const message = await this.#line.hear('plan', 'go');
      if (message.type === 'go') {
        if (message.window !== undefined) this.#window = Math.max(1 << 20, Number(message.window) || 0);
        return;
      }
      const [skip, have] = [message.skip ?? [], message.have ?? []];
      const known = (id) => Number.isInteger(id) && id >= 0 && id < this.#files.length;
      if (!skip.every(known) || !have.every((part) => known(part?.file))) throw protocol('it plans for a file that was not offered');
      skip.forEach((id) => this.#skip.add(id));
      for (const part of have) this.#have.set(part.file, [...(this.#have.get(part.file) ?? []), part].slice(0, 4));
    }
  }

  // Hears the receiver until it is content; gives how many files it has now.
  async listen() {
    let done = this.#skip.size;
    for (;;) {
      const message = await this.#line.hear('progress', 'done', 'complete');
      if (message.type === 'complete') return done;
      if (message.type === 'done') done += message.files?.length ?? 0;
      if (message.type === 'progress' && message.bytes > this.#taken) {
        this.#taken = message.bytes;
        this.#report(this.#taken);
        this.#wake();
      }
    }
  }

  async pump() {
    for (const [id, { file }] of this.#files.entries()) {
      if (this.#skip.has(id)) continue;
      try {
        await this.#file(id, file);
      } catch (error) {
        if (error instanceof Failure) throw error;
        // What browsers say of a file that was changed or removed since it was chosen.
        await this.#record(Kind.FAIL, id, 0, new TextEncoder().encode(`changed\n${shown(error.message, 200)}`));
      }
    }
    await this.#flush();
  }

  async #file(id, file) {
    let hash = new Blake3();
    let offset = 0;
    const have = this.#have.get(id);
    if (have) {
      offset = await this.#beginning(file, have);
      for await (const bytes of pieces(file, 0, offset)) hash.update(bytes);
      await this.#record(Kind.START, id, offset, new Uint8Array());
    }
    for await (const bytes of pieces(file, offset, file.size)) {
      for (let at = 0; at < bytes.length; at += this.#chunk) {
        const part = bytes.subarray(at, at + this.#chunk);
        hash.update(part);
        await this.#record(Kind.DATA, id, offset, part);
        this.#content += part.length;
        offset += part.length;
      }
    }
    await this.#record(Kind.END, id, offset, hash.digest());
  }

  // The longest of the beginnings that the receiver has which is one of this file.
  async #beginning(file, have) {
    const hash = new Blake3();
    let [best, at] = [0, 0];
    for (const { offset, blake3 } of have.sort((a, b) => a.offset - b.offset)) {
      if (!Number.isSafeInteger(offset) || offset <= at || offset > file.size) continue;
      for await (const bytes of pieces(file, at, offset)) hash.update(bytes);
      at = offset;
      if (hash.hex() === blake3) best = at;
    }
    return best;
  }

  async #record(kind, file, offset, payload) {
    if (this.#at > SEQUENCE && this.#at + HEADER + payload.length > this.#buffer.length) await this.#flush();
    if (this.#at === 0) {
      this.#view.setBigUint64(0, BigInt(this.#sequence++));
      this.#at = SEQUENCE;
    }
    this.#view.setUint32(this.#at, kind * 2 ** 24);
    this.#view.setUint32(this.#at + 4, file);
    this.#view.setBigUint64(this.#at + 8, BigInt(offset));
    this.#view.setUint32(this.#at + 16, payload.length);
    this.#buffer.set(payload, this.#at + HEADER);
    this.#at += HEADER + payload.length;
  }

  async #flush() {
    if (this.#at <= SEQUENCE) return;
    while (this.#sent - this.#taken > this.#window) await new Promise((wake) => { this.#wake = wake; });
    await this.#line.send(this.#buffer.subarray(0, this.#at));
    this.#sent += this.#content;
    [this.#at, this.#content] = [0, 0];
  }
}

async function* pieces(file, from, to) {
  for (let at = from; at < to; at += READ) yield new Uint8Array(await file.slice(at, Math.min(to, at + READ)).arrayBuffer());
}
