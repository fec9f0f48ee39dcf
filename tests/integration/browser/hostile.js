// A member of a room who means no good: the body of a function whose first argument is the room, run in a window of the server.
const [url, name] = arguments;
const { Room } = await import('/page/room.js');
const { Peer } = await import('/page/peer.js');

const enter = () => {
  const room = new Room(url, name);
  return new Promise((done) => {
    room.addEventListener('joined', ({ detail }) => done([room, detail.peers[0]]));
    room.join();
  });
};

// First one who only talks nonsense to the page that calls him.
const [nonsense, victim] = await enter();
for (const data of [
  { type: 'answer', sdp: 'v=0 garbage' }, { type: 'answer' }, { type: 'candidate', candidate: 'x', sdpMid: 7 }, { type: 'candidate' },
  { type: 'offer', sdp: 'trash' }, { type: 'offer' }, { type: 'no such thing' }, { type: 5 }, {}, { type: 'end-of-candidates' },
]) nonsense.send(data, victim.id);
nonsense.leave();

// Then one who connects.
const [room, member] = await enter();
const peer = new Peer({
  member, polite: true, offers: false, iceServers: [], tracks: { audio: null, video: null }, send: (data) => room.send(data, member.id),
});
room.addEventListener('message', ({ detail }) => peer.take(detail.data));
await new Promise((done) => {
  peer.addEventListener('chat', () => { if (peer.chat.readyState === 'open') done(); });
});
// Chromium now and then keeps back for good what is said first on a channel that the other side opened.
peer.chat.send('hello');
peer.chat.send('<img src=x onerror="document.title = \'taken over\'">');
peer.chat.send(new Uint8Array(100));
peer.chat.send('x'.repeat(100_000));

// What the page says to each attack by a channel for files: the code of its error.
const hello = { type: 'hello', protocol: 'rtckit-transfer', version: 1, role: 'sender' };
const offer = (...entries) => [hello, { type: 'manifest', entries }, { type: 'manifest-end', entries: entries.length }];
const attacks = {
  noJson: ['nonsense'],
  binaryFirst: [new Uint8Array(40)],
  otherVersion: [{ ...hello, version: 9 }],
  sameRole: [{ ...hello, role: 'receiver' }],
  above: offer({ path: '../x', size: 1 }),
  absolute: offer({ path: '/etc/passwd', size: 1 }),
  twice: offer({ path: 'a', size: 1 }, { path: 'a', size: 1 }),
  noEntry: offer(null),
  noList: [hello, { type: 'manifest', entries: 5 }],
  negative: offer({ path: 'a', size: -1 }),
  fewer: [hello, { type: 'manifest-end', entries: 7 }],
  unasked: [...offer({ path: 'a', size: 1 }), new Uint8Array(64 << 10)],
};
const codes = {};
for (const [attack, messages] of Object.entries(attacks)) {
  const channel = peer.openFiles();
  const closed = new Promise((done) => { channel.onclose = done; });
  channel.onmessage = ({ data }) => {
    const message = typeof data === 'string' ? JSON.parse(data) : {};
    if (message.type === 'error') codes[attack] = message.code;
  };
  await new Promise((done) => { channel.onopen = done; });
  for (const message of messages) channel.send(typeof message === 'object' && !ArrayBuffer.isView(message) ? JSON.stringify(message) : message);
  await closed;
}

// One whose content is not what its hash says, which the page can only tell once it took it.
const liar = peer.openFiles();
liar.onopen = () => offer({ path: 'liar', size: 3 }).forEach((message) => liar.send(JSON.stringify(message)));
liar.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  if (message.type === 'error') window.liarTold = message.code;
  if (message.type !== 'go') return;
  const content = new DataView(new ArrayBuffer(8 + 20 + 3 + 20 + 32));
  content.setUint8(8, 1);
  content.setUint32(8 + 16, 3);
  content.setUint8(31, 3);
  content.setBigUint64(31 + 8, 3n);
  content.setUint32(31 + 16, 32);
  liar.send(content);
};
return codes;
