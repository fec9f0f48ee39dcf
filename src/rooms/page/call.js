// A call: who is in the room, what is sent to them, and the controls.

import { Chat } from './chat.js';
import { FileList, collect } from './filelist.js';
import { Media } from './media.js';
import { Peer } from './peer.js';
import { Room, newcomerOffers, takes } from './room.js';
import { Stats } from './stats.js';
import { Tile } from './tiles.js';
import { shown } from './transfer.js';

const $ = (id) => document.getElementById(id);
const PANELS = { chat: 'Chat', files: 'Files', stats: 'Statistics', devices: 'Devices' };
const DEVICES = { audioinput: 'microphones', videoinput: 'cameras', audiooutput: 'speakers' };

export class Call {
  #room;
  #name;
  #media;
  #keep;
  #over;
  #iceServers = [];
  #members = new Map();
  // {peer, tile} by id.
  #peers = new Map();
  #serverAway = false;
  #tried = 0;
  #left = '';
  #chat;
  #files;
  #stats;
  #speaker = '';
  #panel = null;
  #unread = 0;
  // Who came for files alone waits for these.
  #chosen;
  #choose;
  #events = new AbortController();
  #dragging = 0;

  constructor({ room, name, media, stale, keep, over }) {
    this.#name = room;
    this.#media = media;
    this.#keep = keep;
    this.#over = over;
    this.#room = new Room(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/${encodeURIComponent(room)}`, name, stale);
    this.#chat = new Chat($('chat-log'), $('chat-form'), (text) => this.#say(text));
    this.#files = new FileList($('file-list'), (text) => this.#happened('files', text));
    this.#stats = new Stats(() => this.#sampled(), $('graph'), $('figures').tBodies[0], (peer, frames) =>
      this.#peers.get(peer.id)?.tile.seen(frames));
    this.#nextChoice();
  }

  get busy() {
    return this.#files.busy;
  }

  start() {
    this.#title();
    $('room-name').textContent = this.#name;
    $('command').textContent = `rtckit call --signal ${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/${this.#name} --video --audio --play`;
    $('chat-log').replaceChildren();
    $('file-list').replaceChildren();
    this.notice('');
    this.#listen();
    this.#controls();
    this.#self();
    this.#show();
    this.#stats.start();
    this.#room.join();
  }

  // The user goes.
  leave() {
    // Whoever records waits for those that go without a word.
    this.#peers.forEach((_, id) => this.#room.send({ type: 'bye', leaves: true }, id));
    this.#room.leave();
    this.#end({ title: 'You left', text: `Room ${this.#name}` });
  }

  // The page goes: no time for more.
  vanish() {
    this.#room.leave();
    this.#peers.forEach(({ peer }) => peer.close());
  }

  notice(text) {
    $('notice').hidden = text === '';
    $('notice').firstElementChild.textContent = text;
  }

  #listen() {
    const on = (type, action) => this.#room.addEventListener(type, ({ detail }) => action(detail), { signal: this.#events.signal });
    on('state', (state) => {
      this.#serverAway = state !== 'joined';
      this.#tried = this.#serverAway ? this.#tried + 1 : 0;
      this.#show();
    });
    on('joined', (joined) => this.#joined(joined));
    on('otherjoin', (member) => {
      this.#left = '';
      this.#chat.event(`${this.#nameOf(member)} came`);
      this.#add(member, { offers: !newcomerOffers('any', member.role) });
    });
    on('bye', ({ id }) => {
      const member = this.#members.get(id);
      if (member) this.#gone(member, 'left');
      this.#members.delete(id);
    });
    on('message', ({ from, data }) => this.#hear(from, data));
    on('over', (why) => this.#end(why));
    const media = (type, action) => this.#media.addEventListener(type, ({ detail }) => action(detail), { signal: this.#events.signal });
    media('change', (kind) => {
      this.#peers.forEach(({ peer }) => peer.setTrack(kind, this.#media.track(kind)));
      this.#self();
      this.#listDevices();
    });
    media('problem', (text) => this.notice(text));
  }

  #joined({ token, peers, iceServers, resumed }) {
    this.#keep(token);
    this.#iceServers = iceServers ?? [];
    if (!resumed) {
      this.#members.clear();
      [...this.#peers.keys()].forEach((id) => this.#drop(id));
      for (const member of peers) this.#add(member, { offers: newcomerOffers(member.role, 'any') });
    }
    this.#show();
  }

  #add(member, { offers }) {
    this.#drop(member.id);
    this.#members.set(member.id, member);
    const name = this.#nameOf(member);
    const { tracks } = this.#media;
    const peer = new Peer({ member, offers, iceServers: this.#iceServers, tracks, send: (data) => this.#room.send(data, member.id) });
    const tile = new Tile(name, peer.remote, () => { $('unblock').hidden = false; });
    tile.speaker(this.#speaker);
    this.#peers.set(member.id, { peer, tile });
    $('tiles').append(tile.element);
    const on = (type, action) => peer.addEventListener(type, ({ detail }) => {
      if (this.#peers.get(member.id)?.peer === peer) action(detail);
    });
    on('state', () => this.#show());
    on('media', () => tile.play());
    on('chat', () => this.#show());
    on('text', (text) => {
      this.#chat.said(name, text);
      this.#happened('chat', `${name}: ${shown(text, 200)}`);
    });
    on('channel', (channel) => this.#files.receive(channel, name));
    on('wanted', () => {
      if (this.#files.waitsFor(peer) !== 'connection') this.#files.sendLater(peer, this.#chosen, name);
      this.#open('files');
    });
    on('silent', () => this.#room.renew());
    on('bye', ({ leaves }) => this.#gone(member, leaves === true ? 'left' : 'hung up'));
    on('restarted', (offer) => {
      this.#add(member, { offers: false });
      this.#peers.get(member.id).peer.take(offer);
    });
    peer.start();
    this.#show();
    return peer;
  }

  #hear(from, data) {
    const member = this.#members.get(from);
    if (!member || typeof data?.type !== 'string') return;
    // Who hung up may call again.
    const peer = this.#peers.get(from)?.peer ?? (data.type === 'offer' ? this.#add(member, { offers: false }) : null);
    peer?.take(data);
  }

  #gone(member, how) {
    if (!this.#peers.has(member.id)) return;
    this.#left = `${this.#nameOf(member)} ${how}.`;
    this.#chat.event(`${this.#nameOf(member)} ${how}`);
    this.#drop(member.id);
    this.#show();
  }

  #drop(id) {
    const found = this.#peers.get(id);
    if (!found) return;
    this.#peers.delete(id);
    found.peer.close();
    found.tile.remove();
  }

  #nameOf(member) {
    const part = { offer: 'The sender', answer: takes(member).media ? '' : 'The receiver' }[member.role];
    return shown(member.name, 60) || part || 'The other side';
  }

  #end(why) {
    [...this.#peers.keys()].forEach((id) => this.#drop(id));
    this.#stats.stop();
    this.#files.cancelAll();
    this.#events.abort();
    this.#open(null);
    this.#keep(null);
    this.#over(why);
  }

  // Everything that follows from who is there and how the connections are.
  #show() {
    const others = [...this.#peers.values()];
    $('waiting').hidden = others.length > 0 || this.#serverAway;
    if (others.length === 0) $('unblock').hidden = true;
    const lines = [];
    for (const { peer, tile } of others) {
      const name = this.#nameOf(this.#members.get(peer.id));
      const [line, cover] = {
        connecting: [`Connecting to ${name}…`, 'Connecting…'],
        connected: [`Connected with ${name}.`, 'No picture'],
        reconnecting: [`The connection to ${name} is interrupted. Looking for another path…`, 'Interrupted…'],
        lost: [`No path to ${name} is found; still trying. Check the network on both sides, or leave and join again.`, 'Connection lost'],
      }[peer.state];
      lines.push(line);
      tile.state(cover, peer.state !== 'connected');
    }
    if (this.#serverAway) {
      if (others.length > 0) lines.push('The server is out of reach, the call goes on. Trying again…');
      else lines.push(this.#tried > 2 ? 'The server does not answer. Check the network; trying again…' : 'Connecting to the server…');
    } else if (others.length === 0) {
      lines.push(`${this.#left} Waiting for somebody to come.`.trim());
    }
    const text = lines.join(' ');
    if ($('status').textContent !== text) $('status').textContent = text;
    const reachable = others.some(({ peer }) => peer.chat?.readyState === 'open');
    const connected = others.some(({ peer }) => peer.state === 'connected');
    this.#chat.enable(reachable, connected && !reachable ? 'The other side has no chat' : reachable ? 'Message' : 'Nobody to write to yet');
  }

  #sampled() {
    return [...this.#peers.values()].map(({ peer }) => ({ peer, name: this.#nameOf(this.#members.get(peer.id)) }));
  }

  #self() {
    const track = this.#media.track('video');
    $('self').hidden = track === null;
    $('self').classList.toggle('mirrored', !this.#media.sharing);
    $('self-video').srcObject = track ? new MediaStream([track]) : null;
    press($('microphone'), this.#media.has('audio') && !this.#media.muted);
    press($('camera'), this.#media.has('video'));
    $('share').classList.toggle('on', this.#media.sharing);
    $('share').setAttribute('aria-pressed', String(this.#media.sharing));
  }

  #say(text) {
    const chats = [...this.#peers.values()].map(({ peer }) => peer).filter((peer) => peer.chat?.readyState === 'open');
    if (chats.length === 0) return 'Nobody is there to read it.';
    try {
      chats.forEach((peer) => peer.chat.send(text));
      return null;
    } catch {
      return 'That is longer than one message can be. Send it in parts, or as a file.';
    }
  }

  async #sendFiles(items, list) {
    let files;
    try {
      files = await collect(items, list);
    } catch (error) {
      this.notice(`The files cannot be read: ${error.message}`);
      return;
    }
    if (files.length === 0) return;
    this.#open('files');
    if (this.#peers.size === 0) this.notice('Nobody is here to take files yet.');
    for (const { peer } of this.#peers.values()) {
      if (this.#files.waitsFor(peer) !== 'choice') this.#files.send(peer, files, this.#nameOf(this.#members.get(peer.id)));
    }
    this.#choose(files);
    this.#nextChoice();
  }

  #nextChoice() {
    this.#chosen = new Promise((choose) => { this.#choose = choose; });
  }

  // Something happened in a panel that may be closed.
  #happened(panel, text) {
    if (this.#panel === panel) return;
    if (panel === 'files') {
      this.#open('files');
      return;
    }
    this.#unread++;
    document.querySelector(`[data-panel="${panel}"]`).dataset.new = this.#unread > 99 ? '99+' : this.#unread;
    this.#title();
    $('announcement').textContent = text;
  }

  #title() {
    document.title = `${this.#unread > 0 ? `(${this.#unread}) ` : ''}${this.#name} – rtckit`;
  }

  // Opens a panel, or closes it for null.
  #open(panel) {
    this.#panel = panel;
    $('panel').hidden = panel === null;
    for (const [id, title] of Object.entries(PANELS)) {
      $(id).hidden = id !== panel;
      if (id === panel) $('panel-title').textContent = title;
      document.querySelector(`[data-panel="${id}"]`).setAttribute('aria-expanded', String(id === panel));
    }
    if (panel === 'chat') {
      this.#unread = 0;
      this.#title();
      delete document.querySelector('[data-panel="chat"]').dataset.new;
      this.#chat.focus();
      $('chat-log').scrollTop = $('chat-log').scrollHeight;
    }
    if (panel === 'stats') this.#stats.draw();
    if (panel === 'devices') this.#listDevices();
  }

  async #listDevices() {
    const devices = await Media.devices();
    for (const [kind, id] of Object.entries(DEVICES)) {
      const found = devices.filter((device) => device.kind === kind && device.deviceId);
      if (id === 'speakers') $('speaker-choice').hidden = found.length === 0 || !HTMLMediaElement.prototype.setSinkId;
      const options = found.map((device, index) => new Option(device.label || `${kind} ${index + 1}`, device.deviceId));
      if (options.length === 0) options.push(new Option('None was found, or the browser was not asked for one', ''));
      $(id).replaceChildren(...options);
      const current = { microphones: this.#media.current('audio'), cameras: this.#media.current('video'), speakers: this.#speaker }[id];
      if (found.some((device) => device.deviceId === current)) $(id).value = current;
    }
  }

  #controls() {
    const { signal } = this.#events;
    const on = (target, type, action) => target.addEventListener(type, action, { signal });
    const click = (id, action) => on($(id), 'click', action);
    const attempt = async (work) => this.notice((await work) ?? '');
    const open = (kind) => attempt(this.#media.open({ [kind]: true }).then((problems) => problems[kind]));
    click('microphone', () => {
      if (!this.#media.has('audio')) return open('audio');
      this.#media.mute(!this.#media.muted);
      this.#self();
    });
    click('camera', () => (this.#media.has('video') ? this.#media.close('video') : open('video')));
    click('share', () => (this.#media.sharing ? this.#media.unshare() : attempt(this.#media.share())));
    $('share').hidden = !navigator.mediaDevices?.getDisplayMedia;
    $('microphone').disabled = $('camera').disabled = !navigator.mediaDevices;
    click('leave', () => this.leave());
    click('copy-link', () => this.#copyLink());
    click('notice-close', () => this.notice(''));
    click('unblock', () => {
      $('unblock').hidden = true;
      this.#peers.forEach(({ tile }) => tile.play());
    });
    click('panel-close', () => {
      const opener = document.querySelector(`[data-panel="${this.#panel}"]`);
      this.#open(null);
      opener?.focus();
    });
    document.querySelectorAll('[data-panel]').forEach((button) => {
      on(button, 'click', () => this.#open(this.#panel === button.dataset.panel ? null : button.dataset.panel));
    });
    on($('panel'), 'keydown', (event) => {
      if (event.key === 'Escape') $('panel-close').click();
    });
    click('pick', () => $('picker').click());
    on($('picker'), 'change', () => {
      this.#sendFiles(null, [...$('picker').files]);
      $('picker').value = '';
    });
    on($('microphones'), 'change', () => attempt(this.#media.choose('audio', $('microphones').value)));
    on($('cameras'), 'change', () => attempt(this.#media.choose('video', $('cameras').value)));
    on($('speakers'), 'change', () => {
      this.#speaker = $('speakers').value;
      this.#peers.forEach(({ tile }) => tile.speaker(this.#speaker));
    });
    if (navigator.mediaDevices) on(navigator.mediaDevices, 'devicechange', () => this.#listDevices());
    on(window, 'resize', () => this.#stats.draw());
    this.#dropping(on);
  }

  #dropping(on) {
    const files = (event) => event.dataTransfer?.types.includes('Files');
    const over = (change) => {
      this.#dragging = Math.max(0, change === null ? 0 : this.#dragging + change);
      $('drop').hidden = this.#dragging === 0;
    };
    on(document, 'dragenter', (event) => files(event) && over(1));
    on(document, 'dragleave', (event) => files(event) && over(-1));
    on(document, 'dragover', (event) => files(event) && event.preventDefault());
    on(document, 'drop', (event) => {
      if (!files(event)) return;
      event.preventDefault();
      over(null);
      this.#sendFiles(event.dataTransfer.items, [...event.dataTransfer.files]);
    });
  }

  async #copyLink() {
    const label = $('copy-link').lastElementChild;
    try {
      await navigator.clipboard.writeText(location.href);
      label.textContent = 'Copied';
    } catch {
      // Not allowed, or no secure page.
      prompt('The link of this room', location.href);
    }
    setTimeout(() => { label.textContent = 'Copy link'; }, 2000);
  }
}

// A control that is crossed out while its device is off.
function press(button, on) {
  button.classList.toggle('off', !on);
  button.setAttribute('aria-pressed', String(on));
}
