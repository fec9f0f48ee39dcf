// The room: one WebSocket to the server, which is opened again by itself when it drops. The module documentation of
// `src/rooms/` describes the protocol.
//
// Events: `state` (connecting, joined, reconnecting), `joined`, `otherjoin`, `rejoined`, `bye`, `message` (what the server
// said), and `over` ({title, text}) when there is no point in trying again. All in `detail`.

const VERSION = 1;
const CAPABILITIES = { version: 1, receives: ['audio', 'video', 'chat', 'files'] };
const LONGEST_PAUSE = 8000;
// What was sent and may have to be sent again.
const MOST_KEPT = 512;
// Time after which a connection that does not open counts as failed.
const OPENING = 10_000;

export class Room extends EventTarget {
  #url;
  #name;
  #token;
  #stale;
  #socket = null;
  #joined = false;
  #over = false;
  #attempts = 0;
  #timer = 0;
  #sent = 0;
  #kept = [];
  #seen = 0;
  #refusal = '';
  #retry = () => this.#reconnect(0);

  // `stale`: the token of a membership of an earlier load of this page. It is given up first, so that the page does not
  // stand in its own way.
  constructor(url, name, stale) {
    super();
    this.#url = url;
    this.#name = name;
    this.#token = stale;
    this.#stale = Boolean(stale);
    this.id = null;
    addEventListener('online', this.#retry);
  }

  get token() {
    return this.#token;
  }

  join() {
    this.#tell('state', this.id === null ? 'connecting' : 'reconnecting');
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#retry, OPENING);
    socket.onopen = () => {
      const join = { type: 'join', version: VERSION, role: 'any', capabilities: CAPABILITIES };
      if (this.#name) join.name = this.#name;
      if (this.#token) Object.assign(join, { resume: this.#token, seq: this.#seen });
      socket.send(JSON.stringify(join));
    };
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#take(data);
    };
    socket.onclose = ({ code }) => {
      if (socket === this.#socket) this.#closed(code);
    };
  }

  // To one member, or to all others. What is said while the connection is down is said later.
  send(data, to) {
    const message = { seq: ++this.#sent, text: JSON.stringify({ type: 'message', seq: this.#sent, data, to }) };
    this.#kept.push(message);
    if (this.#kept.length > MOST_KEPT) this.#kept.shift();
    if (this.#joined) this.#socket.send(message.text);
  }

  leave() {
    if (this.#over) return;
    if (this.#joined) this.#socket.send('{"type":"leave"}');
    this.#end();
    this.#socket?.close(1000);
  }

  // Takes a new connection, for when this one looks dead though nobody said so.
  renew() {
    if (this.#joined) this.#reconnect(0);
  }

  #take(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (Number.isSafeInteger(message?.seq)) {
      if (message.seq <= this.#seen) return;
      this.#seen = message.seq;
    }
    switch (message?.type) {
      case 'joined':
        this.#welcome(message);
        break;
      case 'otherjoin':
      case 'rejoined':
      case 'bye':
      case 'message':
        if (!this.#stale) this.#tell(message.type, message);
        break;
      case 'full':
        this.#stop('The room is full', `It holds ${message.maxPeers}, and they are there. Ask one of them to leave, or meet in another room.`);
        break;
      case 'error':
        // Who it was for has gone, which is told anyway.
        if (message.code !== 'no-such-peer') this.#refusal = String(message.message ?? message.code ?? '');
        break;
    }
  }

  #welcome(message) {
    if (this.#stale) {
      this.#stale = false;
      if (message.resumed) {
        this.#token = undefined;
        this.#socket.send('{"type":"leave"}');
        return;
      }
    }
    clearTimeout(this.#timer);
    this.#attempts = 0;
    this.#joined = true;
    this.#token = message.token;
    this.id = message.id;
    if (message.resumed) {
      this.#kept = this.#kept.filter(({ seq }) => seq > message.received);
      this.#kept.forEach(({ text }) => this.#socket.send(text));
    } else {
      [this.#kept, this.#sent, this.#seen] = [[], 0, 0];
    }
    this.#tell('state', 'joined');
    this.#tell('joined', message);
  }

  #closed(code) {
    const why = this.#refusal;
    this.#refusal = '';
    const reasons = {
      4000: ['The server did not understand this page', `${why} Load the page again; if it stays so, page and server are of different releases.`],
      4001: ['The room is full', 'Ask somebody to leave, or meet in another room.'],
      4002: ['The server takes no more messages from here', `${why} Wait a minute, then join again.`],
      4003: ['The server heard nothing from here for too long', 'Join again to go on.'],
      4004: ['Page and server are of different releases', 'Load the page again.'],
      4006: ['You are in this room in another tab', 'Go on there, or join again here.'],
      1009: ['The server refused a message that is too large', 'It is set to smaller messages than a call needs: see its --max-message-size.'],
      1013: ['The server is full', `${why} Try again later.`],
    };
    if (this.#over) return;
    if (reasons[code]) this.#stop(...reasons[code]);
    // Given up in order: now the real one.
    else if (code === 1000 && !this.#token) this.join();
    else this.#reconnect(Math.min(LONGEST_PAUSE, 250 * 2 ** this.#attempts) * (0.75 + Math.random() / 2));
  }

  #reconnect(pause) {
    if (this.#over || this.#socket === null) return;
    const old = this.#socket;
    this.#joined = false;
    this.#attempts++;
    this.#tell('state', this.id === null ? 'connecting' : 'reconnecting');
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.join(), pause);
    old.onopen = old.onmessage = old.onclose = null;
    old.close();
  }

  #stop(title, text) {
    this.#end();
    this.#tell('over', { title, text: text.trim() });
  }

  #end() {
    this.#over = true;
    this.#joined = false;
    clearTimeout(this.#timer);
    removeEventListener('online', this.#retry);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

// What a member has a use for of what we may send: what it says, else what those of its role take; null where only its answer tells.
export function takes({ role, capabilities }) {
  const { version, receives } = capabilities ?? {};
  if (version === 1 && Array.isArray(receives)) {
    const has = (what) => receives.includes(what);
    return { media: has('audio') || has('video'), chat: has('chat'), files: has('files') };
  }
  return role === 'answer' ? { media: null, chat: false, files: null } : { media: true, chat: true, files: true };
}

// Which of the two makes the offer. The insider does, unless only the newcomer wants to, or only the insider does not.
export function newcomerOffers(insider, newcomer) {
  return (newcomer === 'offer' && insider !== 'offer') || (insider === 'answer' && newcomer !== 'answer');
}
