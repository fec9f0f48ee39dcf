// The connection to one other member of the room: negotiation, media, channels. What is said to the other side goes through
// `send`; what it says comes in by `take`.
//
// Events: `state` (connecting, connected, reconnecting, lost), `media` (a track came), `chat` (open or closed), `text`,
// `channel` (one by which files come), `wanted` (it only came for files), `restarted` (it began anew: detail is its offer), `bye`, `silent` (it does not answer).

import { takes } from './room.js';
import { LABEL } from './transfer.js';

const KINDS = ['audio', 'video'];
// A path that comes back by itself within this time needs no restart.
const PATIENCE = 3000;
// An answer to a restart takes no longer.
const ANSWERING = 8000;
const LOST = 30_000;
// Candidates that may come before the description they belong to.
const MOST_EARLY = 64;

export class Peer extends EventTarget {
  #pc;
  #send;
  #tracks;
  #local = new MediaStream();
  #senders = new Map();
  #offers;
  #makingOffer = false;
  #ignoring = false;
  #chain = Promise.resolve();
  #early = [];
  #takes;
  #takesMedia;
  // Whether it came for files alone, which its answer tells where it did not say so; then they go by the channel that waits.
  #receiver = null;
  #waiting = null;
  #known;
  #timer = 0;
  #troubledSince = 0;

  // `offers`: whether we make the first offer; who does insists when both offer at once later, and the other gives way.
  // `tracks`: {audio, video}, each a track or null.
  constructor({ member, offers, iceServers, tracks, send }) {
    super();
    this.id = member.id;
    this.polite = !offers;
    this.remote = new MediaStream();
    this.chat = null;
    this.state = 'connecting';
    this.closed = false;
    // Holds once there was a connection, or never will be.
    this.known = new Promise((known) => { this.#known = known; });
    this.#takes = takes(member);
    this.#takesMedia = !offers || this.#takes.media === true;
    this.#offers = offers;
    this.#send = send;
    this.#tracks = tracks;
    this.#pc = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
    const pc = this.#pc;
    pc.onnegotiationneeded = () => this.#offer();
    pc.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) send({ type: 'candidate', ...candidate.toJSON() });
      else if (candidate === null) send({ type: 'end-of-candidates' });
    };
    pc.onconnectionstatechange = () => this.#connection();
    pc.ontrack = ({ track }) => this.#track(track);
    pc.ondatachannel = ({ channel }) => this.#channel(channel);
  }

  getStats() {
    return this.#pc.getStats();
  }

  get maxMessage() {
    return this.#pc.sctp?.maxMessageSize ?? 0;
  }

  start() {
    if (!this.#offers) return;
    if (this.#takes.chat) this.#serveChat(this.#pc.createDataChannel('chat'));
    // This one is never announced: it makes the section that channels for files need.
    else this.#pc.createDataChannel('', { negotiated: true, id: 1000 });
    for (const kind of KINDS) {
      const { sender } = this.#pc.addTransceiver((this.#takesMedia && this.#tracks[kind]) || kind, { direction: 'sendrecv', streams: [this.#local] });
      this.#senders.set(kind, sender);
    }
  }

  // What the other side says. One message after the other: a candidate waits for its description.
  take(message) {
    this.#chain = this.#chain.then(() => this.#take(message)).catch((error) => {
      if (!this.closed) console.warn(`${message.type} of the other side:`, error);
    });
  }

  // Sends this track from now on, or nothing for null. No negotiation: both sides keep what they agreed on.
  setTrack(kind, track) {
    this.#tracks = { ...this.#tracks, [kind]: track };
    if (this.#takesMedia) this.#attach(kind);
  }

  // A channel to send files by, once it is known; null where the other side takes none. It opens when there is a path.
  openFiles() {
    const waiting = this.#waiting;
    this.#waiting = null;
    return waiting ?? (this.closed || this.#pc.sctp === null || this.#takes.files === false ? null : this.#open());
  }

  close() {
    this.closed = true;
    clearTimeout(this.#timer);
    this.#pc.close();
    this.#known();
  }

  #open() {
    return this.#pc.createDataChannel(LABEL, { protocol: LABEL });
  }

  async #offer() {
    // Whoever answers first has nothing to offer before.
    if (!this.#offers && this.#pc.remoteDescription === null) return;
    try {
      this.#makingOffer = true;
      await this.#pc.setLocalDescription();
      this.#describe();
    } catch (error) {
      if (!this.closed) console.warn('offer:', error);
    } finally {
      this.#makingOffer = false;
    }
  }

  #describe() {
    const { type, sdp } = this.#pc.localDescription;
    this.#send({ type, sdp });
  }

  async #take(message) {
    const pc = this.#pc;
    if (this.closed) return;
    switch (message.type) {
      case 'offer':
      case 'answer': {
        if (message.type === 'offer' && this.#isAnother(message.sdp)) {
          this.#tell('restarted', message);
          return;
        }
        const collides = message.type === 'offer' && (this.#makingOffer || pc.signalingState !== 'stable');
        this.#ignoring = collides && !this.polite;
        if (this.#ignoring || (message.type === 'answer' && pc.signalingState !== 'have-local-offer')) return;
        await pc.setRemoteDescription({ type: message.type, sdp: message.sdp });
        for (const early of this.#early.splice(0)) await this.#candidate(early);
        if (message.type === 'answer') return;
        this.#join();
        await pc.setLocalDescription();
        this.#describe();
        break;
      }
      case 'candidate':
        await this.#candidate(message);
        break;
      case 'bye':
        this.#tell('bye', message);
        break;
    }
  }

  async #candidate(message) {
    if (this.#pc.remoteDescription === null) {
      if (this.#early.length < MOST_EARLY) this.#early.push(message);
      return;
    }
    const { candidate, sdpMid, sdpMLineIndex, usernameFragment } = message;
    try {
      await this.#pc.addIceCandidate({ candidate, sdpMid, sdpMLineIndex, usernameFragment });
    } catch (error) {
      // One of an offer that gave way, or of before a restart.
      if (!this.#ignoring) console.info('candidate:', error);
    }
  }

  // Whether an offer comes from another connection than the one that this belongs to: then its certificate is another.
  #isAnother(sdp) {
    const fingerprint = (text) => /^a=fingerprint:(.*)$/m.exec(text ?? '')?.[1].trim().toLowerCase();
    const before = this.#pc.remoteDescription?.sdp;
    return before !== undefined && fingerprint(before) !== fingerprint(sdp);
  }

  // Our tracks go into the first offered section of their kind.
  #join() {
    for (const transceiver of this.#pc.getTransceivers()) {
      const { kind } = transceiver.receiver.track;
      if (transceiver.mid === null || this.#senders.has(kind)) continue;
      this.#senders.set(kind, transceiver.sender);
      transceiver.direction = 'sendrecv';
      transceiver.sender.setStreams?.(this.#local);
      this.#attach(kind);
    }
  }

  #attach(kind) {
    this.#senders.get(kind)?.replaceTrack(this.#tracks[kind]).catch((error) => console.warn(`${kind}:`, error));
  }

  #track(track) {
    for (const old of this.remote.getTracks()) {
      if (old.kind !== track.kind) continue;
      if (old.readyState === 'live') return;
      this.remote.removeTrack(old);
    }
    this.remote.addTrack(track);
    this.#tell('media', track);
  }

  #channel(channel) {
    if (channel.label === LABEL) this.#tell('channel', channel);
    else if (channel.label === 'chat') this.#serveChat(channel);
    else channel.close();
  }

  #serveChat(channel) {
    this.chat?.close();
    this.chat = channel;
    channel.onmessage = ({ data }) => {
      if (typeof data === 'string') this.#tell('text', data);
    };
    channel.onopen = channel.onclose = () => this.#tell('chat');
  }

  #connection() {
    const state = this.#pc.connectionState;
    if (state === 'connected') {
      clearTimeout(this.#timer);
      this.#troubledSince = 0;
      this.#become('connected');
      this.#lookForReceiver();
      this.#known();
    } else if (state === 'disconnected' || state === 'failed') {
      this.#troubledSince ||= performance.now();
      this.#become(this.state === 'connecting' ? 'connecting' : 'reconnecting');
      clearTimeout(this.#timer);
      // The polite one waits for the other's offer first.
      this.#timer = setTimeout(() => this.#restart(), (state === 'failed' ? 0 : PATIENCE) + (this.polite ? 1500 : 0));
    }
  }

  // Who takes files but no media, or did not say and sends none, came for files alone, and waits for their channel.
  #lookForReceiver() {
    if (this.#takesMedia || this.#receiver !== null) return;
    this.#takesMedia = this.#pc.getTransceivers().some(({ currentDirection }) => /recv/.test(currentDirection));
    this.#receiver = !this.#takesMedia && this.#takes.files !== false;
    if (this.#receiver) {
      this.#waiting = this.#open();
      this.#tell('wanted');
    } else if (this.#takesMedia) {
      KINDS.forEach((kind) => this.#attach(kind));
    }
  }

  // Looks for another path (ICE restart), until there is one.
  #restart() {
    if (this.closed || this.#pc.connectionState === 'connected') return;
    if (performance.now() - this.#troubledSince > LOST) this.#become('lost');
    if (this.#pc.signalingState === 'have-local-offer') {
      // The last one was not answered: maybe it never arrived.
      this.#tell('silent');
      this.#describe();
    } else if (this.#pc.remoteDescription !== null) {
      this.#pc.restartIce();
    }
    this.#timer = setTimeout(() => this.#restart(), ANSWERING);
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.#tell('state', state);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
