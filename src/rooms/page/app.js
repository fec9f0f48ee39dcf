// The page: the form in front of a room, and the call. Everything else is a module that this one holds together.

import { Call } from './call.js';
import { Media } from './media.js';

const $ = (id) => document.getElementById(id);
const SECURE = 'Browsers give camera and microphone only to pages by https:// or on localhost. Start the server with --self-signed or a certificate; or join to watch, chat and swap files.';

const media = new Media();
let call = null;

// What a reload of this tab goes on with; the browser forgets it with the tab.
const memory = {
  get: (key) => {
    try {
      return JSON.parse(sessionStorage.getItem(`rtckit.${key}`));
    } catch {
      return null;
    }
  },
  set: (key, value) => {
    try {
      if (value === null) sessionStorage.removeItem(`rtckit.${key}`);
      else sessionStorage.setItem(`rtckit.${key}`, JSON.stringify(value));
    } catch {
      // It works without, only a reload asks again.
    }
  },
};

const roomOf = (path) => decodeURIComponent(path.slice(1));

function show(id) {
  for (const screen of ['lobby', 'call', 'over']) $(screen).hidden = screen !== id;
}

// A name that nobody guesses, and that can be read out: 36 bits of syllables.
function someRoom() {
  const [consonants, vowels] = ['bdfghjklmnprst', 'aeiou'];
  const random = crypto.getRandomValues(new Uint32Array(6));
  const syllables = [...random].map((number) => consonants[number % 14] + vowels[Math.floor(number / 14) % 5]);
  return [0, 2, 4].map((at) => syllables[at] + syllables[at + 1]).join('-');
}

function lobby() {
  document.title = 'rtckit';
  $('room').value = roomOf(location.pathname) || someRoom();
  $('name').value = memory.get('name') ?? '';
  const problem = navigator.mediaDevices ? '' : SECURE;
  for (const id of ['with-microphone', 'with-camera']) {
    $(id).disabled = problem !== '';
    $(id).checked = problem === '' && memory.get(id) !== false;
  }
  explain(problem);
  show('lobby');
  $('join').focus();
}

function explain(text) {
  $('lobby-message').textContent = text;
  $('lobby-message').hidden = text === '';
  const watches = !$('with-camera').checked && !$('with-microphone').checked;
  $('join').textContent = watches ? 'Join to watch' : 'Join';
}

async function submit() {
  const room = $('room').value;
  const name = $('name').value.trim();
  if (roomOf(location.pathname) !== room) history.pushState(null, '', `/${encodeURIComponent(room)}`);
  memory.set('name', name);
  $('join').disabled = true;
  $('join').textContent = 'Waiting for the browser’s permission…';
  const problems = await media.open({ audio: $('with-microphone').checked, video: $('with-camera').checked });
  $('join').disabled = false;
  // What cannot be had is unchecked, so that the next Join goes on without it.
  if (problems.audio) $('with-microphone').checked = false;
  if (problems.video) $('with-camera').checked = false;
  for (const id of ['with-microphone', 'with-camera']) memory.set(id, $(id).checked);
  const texts = [...new Set(Object.values(problems))];
  explain(texts.join(' '));
  if (texts.length === 0) enter(room, name);
}

function enter(room, name) {
  memory.set('room', room);
  show('call');
  call = new Call({ room, name, media, stale: memory.get('token'), keep: (token) => memory.set('token', token), over });
  call.start();
}

// The call is over: {title, text}.
function over({ title, text }) {
  call = null;
  media.stop();
  memory.set('room', null);
  $('over-title').textContent = title;
  $('over-text').textContent = text;
  document.title = title;
  show('over');
  $('over-title').focus();
}

async function begin() {
  const room = roomOf(location.pathname);
  // A reload goes straight back into the call, with what was open.
  if (room === '' || memory.get('room') !== room) return lobby();
  const on = memory.get('on') ?? {};
  const problems = await media.open(on);
  if (on.muted) media.mute(true);
  enter(room, memory.get('name') ?? '');
  const texts = Object.values(problems);
  if (texts.length > 0) call.notice(texts.join(' '));
}

$('join-form').onsubmit = (event) => {
  event.preventDefault();
  submit();
};
for (const id of ['with-microphone', 'with-camera']) $(id).onchange = () => explain(navigator.mediaDevices ? '' : SECURE);
$('again').onclick = () => lobby();
$('elsewhere').onclick = () => {
  history.pushState(null, '', '/');
  lobby();
};
addEventListener('popstate', () => {
  if (!call) lobby();
  else if (roomOf(location.pathname) !== memory.get('room')) call.leave();
});
media.addEventListener('change', () => memory.set('on', { audio: media.has('audio'), video: media.has('video'), muted: media.muted }));
addEventListener('beforeunload', (event) => {
  memory.set('on', { audio: media.has('audio'), video: media.has('video'), muted: media.muted });
  if (call?.busy) event.preventDefault();
});
// The others are told at once; a page that comes back from the browser's cache begins anew.
addEventListener('pagehide', () => call?.vanish());
addEventListener('pageshow', (event) => {
  if (event.persisted) location.reload();
});

begin();
