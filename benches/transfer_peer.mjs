// One end of a transfer with node-datachannel: transfer_peer.mjs send|receive FOLDER BYTES
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { PeerConnection } from 'node-datachannel';

const [role, folder, length] = process.argv.slice(2);
const bytes = Number(length);
const MESSAGE = 64 * 1024;
const HIGH = 4 * 1024 * 1024;
const pc = new PeerConnection(role, { iceServers: [], maxMessageSize: 256 * 1024 });
// A channel that nothing refers to is collected, and hears no more.
const held = [pc];

function say(name) {
  pc.onGatheringStateChange((state) => {
    if (state !== 'complete') return;
    writeFileSync(`${folder}/${name}.new`, JSON.stringify(pc.localDescription()));
    renameSync(`${folder}/${name}.new`, `${folder}/${name}`);
  });
}

async function hear(name) {
  while (!existsSync(`${folder}/${name}`)) await new Promise((next) => setTimeout(next, 5));
  const { sdp, type } = JSON.parse(readFileSync(`${folder}/${name}`, 'utf8'));
  pc.setRemoteDescription(sdp, type);
}

if (role === 'send') {
  // Before there is a channel, with which gathering begins, and may be over at once.
  say('offer');
  const channel = pc.createDataChannel('file');
  held.push(channel);
  const message = Buffer.alloc(MESSAGE, 7);
  let sent = 0;
  const fill = () => {
    while (sent < bytes && channel.bufferedAmount() < HIGH) {
      channel.sendMessageBinary(message);
      sent += MESSAGE;
    }
  };
  channel.setBufferedAmountLowThreshold(HIGH / 2);
  channel.onBufferedAmountLow(fill);
  channel.onOpen(fill);
  // The receiver says when it has everything.
  channel.onMessage(() => process.exit(0));
  await hear('answer');
} else {
  let received = 0;
  pc.onDataChannel((channel) => {
    held.push(channel);
    channel.onMessage((message) => {
      received += message.length;
      if (received < bytes) return;
      channel.sendMessage('complete');
      setTimeout(() => process.exit(0), 300);
    });
  });
  say('answer');
  await hear('offer');
}
setInterval(() => held.length, 1000);
