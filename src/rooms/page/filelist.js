// The list of transfers, and how files get into the page.

import { receive } from './receive.js';
import { Failure, cancelled, send, shown } from './transfer.js';

// Transfers that the list shows, and that one page takes at the same time.
const MOST_SHOWN = 100;
const MOST_COMING = 8;

export class FileList {
  #list;
  #tell;
  #running = new Set();
  #coming = 0;
  #waiting = new Map();

  // `tell(text)` says what happened to those who do not look at the list.
  constructor(list, tell) {
    this.#list = list;
    this.#tell = tell;
  }

  get busy() {
    return this.#running.size > 0;
  }

  // What keeps a transfer to this peer from its beginning: 'connection', 'choice' (of files), or nothing.
  waitsFor(peer) {
    return this.#waiting.get(peer);
  }

  // Sends to a peer, as soon as there is a connection.
  async send(peer, files, who) {
    const item = this.#item(`To ${who}: ${title(files.map(({ path }) => path))}`);
    const work = async (signal) => {
      item.how('Waits for the connection.');
      this.#waiting.set(peer, 'connection');
      await Promise.race([peer.known, cancelled(signal)]).finally(() => this.#waiting.delete(peer));
      const channel = peer.openFiles();
      if (!channel) throw new Failure(null, peer.closed ? 'The other side left before.' : 'The other side takes no files. With rtckit: rtckit answer --receive-files, or receive-file.');
      return send(channel, peer.maxMessage, Promise.resolve(files), { signal, report: item.report });
    };
    await this.#watch(item, work, async (done) => {
      item.done(done === files.length ? 'Sent, and checked there' : `Sent: ${done} of ${files.length}`);
    });
  }

  // Waits with an open channel until files are chosen: for who came for nothing else.
  async sendLater(peer, files, who) {
    const item = this.#item(`${who} waits for files`);
    item.how('Choose some, or drop them here.');
    this.#waiting.set(peer, 'choice');
    files.then((files) => {
      item.rename(`To ${who}: ${title(files.map(({ path }) => path))}`);
      this.#waiting.delete(peer);
    });
    await this.#watch(item, (signal) => send(peer.openFiles(), peer.maxMessage, files, { signal, report: item.report }), async () => {
      item.done('Sent, and checked there');
    });
    this.#waiting.delete(peer);
  }

  // Takes what comes by a channel of the other side, if the user wants it.
  async receive(channel, who) {
    if (this.#coming === MOST_COMING) {
      channel.close();
      return;
    }
    this.#coming++;
    const links = [];
    const item = this.#item(`From ${who}`);
    const consent = (files, total) => {
      item.rename(`From ${who}: ${title(files.map(({ path }) => path))}`);
      this.#tell(`${who} wants to send ${files.length === 1 ? shown(files[0].path, 60) : `${files.length} files`}`);
      item.how(total === null ? 'Of unknown size' : size(total));
      return item.ask();
    };
    const work = (signal) =>
      receive(channel, {
        signal,
        consent,
        report: (done, total) => item.report(done, total),
        take: (path, blob) => links.push(item.link(path, blob)),
        missing: (path, why) => item.note(`${shown(path)}: ${why}`),
      });
    await this.#watch(item, work, async () => {
      item.done(links.length === 1 ? 'Here, and its hash is right. Save it:' : `${links.length} files are here, and their hashes are right. Save them:`);
    });
    this.#coming--;
  }

  cancelAll() {
    this.#running.forEach((controller) => controller.abort());
  }

  async #watch(item, work, finished) {
    const controller = new AbortController();
    this.#running.add(controller);
    try {
      item.cancels(() => controller.abort());
      await finished(await work(controller.signal));
    } catch (error) {
      if (!(error instanceof Failure)) console.error(error);
      item.fail(error.message);
    } finally {
      this.#running.delete(controller);
    }
  }

  #item(name) {
    const item = document.createElement('li');
    const what = element('bdi', 'what', name);
    const bar = element('progress', '', '');
    bar.setAttribute('aria-label', name);
    bar.hidden = true;
    const how = element('p', 'how', '');
    const buttons = element('div', 'buttons', '');
    buttons.hidden = true;
    const files = element('ul', '', '');
    files.hidden = true;
    item.append(what, bar, how, buttons, files);
    this.#list.prepend(item);
    if (this.#list.children.length > MOST_SHOWN) this.#list.lastChild.remove();
    let began = 0;
    let cancel = () => {};
    const over = (state, text) => {
      item.className = state;
      how.textContent = text;
      bar.hidden = buttons.hidden = true;
    };
    return {
      rename: (text) => {
        what.textContent = text;
        bar.setAttribute('aria-label', text);
      },
      how: (text) => { how.textContent = text; },
      report: (done, total) => {
        bar.hidden = false;
        began ||= performance.now();
        if (total === null) bar.removeAttribute('value');
        else [bar.max, bar.value] = [Math.max(1, total), done];
        const seconds = (performance.now() - began) / 1000;
        how.textContent = `${size(done)}${total === null ? '' : ` of ${size(total)}`}${seconds > 1 ? `, ${size(done / seconds)}/s` : ''}`;
      },
      cancels: (action) => {
        cancel = action;
        buttons.hidden = false;
        buttons.append(button('Cancel', '', cancel));
      },
      ask: () => new Promise((answer) => {
        const decide = (yes) => {
          buttons.replaceChildren(button('Cancel', '', () => cancel()));
          answer(yes);
        };
        buttons.hidden = false;
        buttons.replaceChildren(button('Accept', 'primary', () => decide(true)), button('Decline', '', () => decide(false)));
      }),
      link: (path, blob) => {
        const link = element('a', '', shown(path));
        link.href = URL.createObjectURL(blob);
        link.download = path.split('/').pop();
        const line = element('li', '', '');
        line.append(link, element('span', 'help', size(blob.size)));
        files.hidden = false;
        files.append(line);
        return link;
      },
      note: (text) => {
        files.hidden = false;
        files.append(element('li', '', text));
      },
      done: (text) => over('done', text),
      fail: (text) => over('failed', text),
    };
  }
}

// What was dropped or chosen, as {path, file}; folders with all that is in them. Names that come twice get a number.
export async function collect(items, files) {
  const found = [];
  const entries = [...(items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (entries.length > 0) for (const entry of entries) await walk(entry, '', found);
  else for (const file of files) found.push({ path: file.name, file });
  const taken = new Set();
  for (const one of found) {
    const [, stem, end] = /^(.*?)(\.[^./]*)?$/s.exec(one.path);
    for (let count = 2; taken.has(one.path); count++) one.path = `${stem} (${count})${end ?? ''}`;
    taken.add(one.path);
  }
  return found;
}

async function walk(entry, above, found) {
  const path = above + entry.name;
  if (entry.isFile) {
    found.push({ path, file: await new Promise((done, failed) => entry.file(done, failed)) });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // Browsers give them in parts.
    const part = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (part.length === 0) return;
    for (const child of part) await walk(child, `${path}/`, found);
  }
}

export function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const at = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** at;
  return `${value.toFixed(at === 0 || value >= 100 ? 0 : 1)} ${units[at]}`;
}

function title(names) {
  const first = shown(names[0] ?? 'nothing', 80);
  return names.length > 1 ? `${first} and ${names.length - 1} more` : first;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}

function button(text, className, action) {
  const made = element('button', `small ${className}`, text);
  made.type = 'button';
  made.onclick = action;
  return made;
}
