// The browser's end of a test call. Rust calls these functions over WebDriver; each takes and returns plain JSON.
'use strict';

const peers = new Map();

// FNV-1a, 32 bits; support/mod.rs has the same.
function fnv1a(bytes, hash = 0x811c9dc5) {
  for (const byte of bytes) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return hash;
}

// The pseudo-random bytes of support/mod.rs.
function noise(length, seed) {
  const bytes = new Uint8Array(length);
  let state = (Math.imul(seed, 2654435761) | 1) >>> 0;
  for (let i = 0; i < length; i++) {
    state = (state ^ (state << 13)) >>> 0;
    state = (state ^ (state >>> 17)) >>> 0;
    state = (state ^ (state << 5)) >>> 0;
    bytes[i] = (state >>> 8) & 0xff;
  }
  return bytes;
}

function peer(name) {
  const found = peers.get(name);
  if (!found) {
    throw new Error(`no peer ${name}`);
  }
  return found;
}

// Remembers every frame the element shows: how many there were and how many differed from the one before.
function watch(p, stream) {
  const video = document.createElement('video');
  video.autoplay = true;
  video.playsInline = true;
  video.srcObject = stream;
  document.body.append(video);
  p.video = video;
  const canvas = new OffscreenCanvas(64, 48);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  let last = 0;
  const onFrame = () => {
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    const hash = fnv1a(context.getImageData(0, 0, canvas.width, canvas.height).data);
    p.frames.shown += 1;
    p.frames.changed += hash === last ? 0 : 1;
    p.frames.width = video.videoWidth;
    p.frames.height = video.videoHeight;
    last = hash;
    video.requestVideoFrameCallback(onFrame);
  };
  video.requestVideoFrameCallback(onFrame);
}

function listen(p, channel) {
  channel.binaryType = 'arraybuffer';
  p.channels.set(channel.label, channel);
  channel.onmessage = ({ data }) => {
    const text = typeof data === 'string';
    const bytes = text ? new TextEncoder().encode(data) : new Uint8Array(data);
    p.total.bytes += bytes.length;
    p.total.hash = fnv1a(bytes, p.total.hash);
    p.messages.push({ text, size: bytes.length, hash: fnv1a(bytes) });
    if (p.echo) {
      channel.send(data);
    }
  };
}

// A track of sound on one pitch, without a microphone.
function tone(hertz) {
  const context = new AudioContext();
  const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
  const oscillator = new OscillatorNode(context, { frequency: hertz });
  oscillator.connect(destination);
  oscillator.start();
  return destination.stream;
}

// options: {tone: Hz, audioCodec: media type of the only codec that sound may have,
//   videoFormat: what the format parameters of the only codec contain that video may have,
//   channels: [[label, RTCDataChannelInit], …],
//   media: 'send' | 'receive' | 'both' | 'none', channel: label or null, echo: bool}
async function create(name, options) {
  const connection = new RTCPeerConnection();
  const p = {
    connection,
    options,
    echo: options.echo === true,
    channels: new Map(),
    messages: [],
    total: { bytes: 0, hash: fnv1a([]) },
    candidates: [],
    frames: { shown: 0, changed: 0, width: 0, height: 0 },
    marks: {},
  };
  peers.set(name, p);
  connection.onicecandidate = ({ candidate }) => p.candidates.push(candidate ? candidate.toJSON() : null);
  connection.onconnectionstatechange = () => {
    p.marks[connection.connectionState] ??= performance.now();
  };
  connection.ondatachannel = ({ channel }) => listen(p, channel);
  connection.ontrack = ({ track, streams }) => {
    if (track.kind === 'video') {
      watch(p, streams[0] ?? new MediaStream([track]));
    } else if (options.tone) {
      p.video = new Audio();
      p.video.srcObject = new MediaStream([track]);
      p.video.play();
    }
  };
  if (options.media === 'send' || options.media === 'both') {
    p.stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 480 } });
    for (const track of p.stream.getTracks()) {
      connection.addTrack(track, p.stream);
    }
  }
  if (options.tone) {
    p.stream = tone(options.tone);
    connection.addTrack(p.stream.getAudioTracks()[0], p.stream);
  }
  if (options.audioCodec) {
    const { codecs } = RTCRtpSender.getCapabilities('audio');
    for (const transceiver of connection.getTransceivers().filter(({ sender }) => sender.track?.kind === 'audio')) {
      transceiver.setCodecPreferences(codecs.filter(({ mimeType }) => mimeType === options.audioCodec));
    }
  }
  if (options.videoFormat) {
    const { codecs } = RTCRtpSender.getCapabilities('video');
    for (const transceiver of connection.getTransceivers().filter(({ sender }) => sender.track?.kind === 'video')) {
      transceiver.setCodecPreferences(codecs.filter(({ sdpFmtpLine }) => sdpFmtpLine?.includes(options.videoFormat)));
    }
  }
  if (options.media === 'receive' && options.offers) {
    connection.addTransceiver('audio', { direction: 'recvonly' });
    connection.addTransceiver('video', { direction: 'recvonly' });
  }
  for (const [label, init] of options.channels ?? []) {
    listen(p, connection.createDataChannel(label, init));
  }
  if (options.channel != null) {
    listen(p, connection.createDataChannel(options.channel));
  }
  return null;
}

async function gathered(connection) {
  while (connection.iceGatheringState !== 'complete') {
    await new Promise((resolve) => {
      connection.addEventListener('icegatheringstatechange', resolve, { once: true });
    });
  }
}

async function local(p, description, trickle) {
  await p.connection.setLocalDescription(description);
  if (!trickle) {
    await gathered(p.connection);
  }
  return p.connection.localDescription.toJSON();
}

async function offer(name, { trickle = false } = {}) {
  const p = peer(name);
  const description = await p.connection.createOffer();
  p.marks.offerCreated = performance.now();
  return local(p, description, trickle);
}

// An offer that restarts ICE; its candidates follow.
async function restart(name) {
  const p = peer(name);
  p.connection.restartIce();
  return local(p, await p.connection.createOffer(), true);
}

// The ICE session: both user name fragments, and how far it is.
async function ice(name) {
  const { connection } = peer(name);
  const fragment = ({ sdp }) => /^a=ice-ufrag:(.*)$/m.exec(sdp)[1];
  return {
    fragment: fragment(connection.currentLocalDescription),
    theirs: fragment(connection.currentRemoteDescription),
    state: connection.connectionState,
  };
}

async function answer(name, remote, { trickle = false } = {}) {
  const p = peer(name);
  await p.connection.setRemoteDescription(remote);
  return local(p, await p.connection.createAnswer(), trickle);
}

async function accept(name, remote) {
  await peer(name).connection.setRemoteDescription(remote);
  return null;
}

async function addCandidate(name, candidate) {
  await peer(name).connection.addIceCandidate(candidate ?? undefined);
  return null;
}

// The candidates gathered since the last call; null among them is the end.
async function takeCandidates(name) {
  return peer(name).candidates.splice(0);
}

async function state(name) {
  const { connection, channels, messages, total, frames, marks } = peer(name);
  return {
    connection: connection.connectionState,
    gathering: connection.iceGatheringState,
    channels: [...channels].map(([label, channel]) => {
      const { readyState, ordered, maxRetransmits, maxPacketLifeTime, protocol, negotiated, id } = channel;
      return { label, state: readyState, ordered, maxRetransmits, maxPacketLifeTime, protocol, negotiated, id };
    }),
    messages,
    total,
    frames,
    marks,
  };
}

async function stats(name) {
  const report = await peer(name).connection.getStats();
  return [...report.values()];
}

async function sendText(name, label, text) {
  peer(name).channels.get(label).send(text);
  return null;
}

// Sends noise(size, seed) as one binary message.
async function sendNoise(name, label, size, seed) {
  peer(name).channels.get(label).send(noise(size, seed));
  return null;
}

async function close(name) {
  const p = peer(name);
  p.connection.close();
  p.stream?.getTracks().forEach((track) => track.stop());
  p.video?.remove();
  peers.delete(name);
  return null;
}

// Two peers of this page call each other with trickle; milliseconds from the offer to both being connected. The
// candidates go straight across, so this is what the browser itself needs.
async function callItself({ media }) {
  await create('caller', { media, channel: 'test', offers: true });
  await create('callee', { media, channel: null });
  const [caller, callee] = [peer('caller'), peer('callee')];
  caller.connection.onicecandidate = ({ candidate }) => callee.connection.addIceCandidate(candidate);
  callee.connection.onicecandidate = ({ candidate }) => caller.connection.addIceCandidate(candidate);
  const begin = performance.now();
  await caller.connection.setLocalDescription();
  await callee.connection.setRemoteDescription(caller.connection.localDescription);
  await callee.connection.setLocalDescription();
  await caller.connection.setRemoteDescription(callee.connection.localDescription);
  while (!(caller.marks.connected && callee.marks.connected)) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return { connected: Math.max(caller.marks.connected, callee.marks.connected) - begin };
}
