// What the connections do, once a second: sampled, kept for a minute, drawn and told.

const SECONDS = 60;
const COLOURS = { received: '#60a5fa', sent: '#f59e0b', roundTrip: '#a78bfa', lost: '#ef4444', text: '#a9b6c6', grid: '#2a3542' };

export class Stats {
  #before = new Map();
  #history = [];
  #timer = 0;
  #peers;
  #canvas;
  #rows;
  #seen;

  // `peers()`: those to look at, as {peer, name}. `seen(peer, frames)` hears how many pictures of each were decoded since last time.
  constructor(peers, canvas, rows, seen) {
    this.#peers = peers;
    this.#canvas = canvas;
    this.#rows = rows;
    this.#seen = seen;
  }

  start() {
    this.#timer ||= setInterval(() => this.#sample(), 1000);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#history = [];
    this.#before.clear();
  }

  draw() {
    if (this.#canvas.clientWidth > 0) draw(this.#canvas, this.#history);
  }

  async #sample() {
    const peers = this.#peers();
    const samples = await Promise.all(peers.map(async ({ peer, name }) => {
      const now = read(await peer.getStats());
      const before = this.#before.get(peer);
      this.#before.set(peer, now);
      this.#seen(peer, before ? now.decoded - before.decoded : now.decoded);
      return before && { name, ...difference(before, now) };
    }));
    for (const peer of this.#before.keys()) if (!peers.some((one) => one.peer === peer)) this.#before.delete(peer);
    const known = samples.filter(Boolean);
    const sum = (member) => known.reduce((total, sample) => total + sample[member], 0);
    const most = (member) => known.reduce((top, sample) => (sample[member] === null ? top : Math.max(top ?? 0, sample[member])), null);
    this.#history.push({ received: sum('received'), sent: sum('sent'), roundTrip: most('roundTrip'), lost: most('lost') });
    if (this.#history.length > SECONDS) this.#history.shift();
    if (this.#canvas.clientWidth === 0) return;
    this.draw();
    this.#tell(this.#history.at(-1), known);
  }

  #tell(now, known) {
    const rows = [
      ['Received', bits(now.received)],
      ['Sent', bits(now.sent)],
      ['Round trip', now.roundTrip === null ? '–' : `${Math.round(now.roundTrip * 1000)} ms`],
      ['Packets lost', now.lost === null ? '–' : `${(now.lost * 100).toFixed(1)} %`],
    ];
    for (const { name, picture, sentPicture, path } of known) {
      if (known.length > 1) rows.push([name, ' ']);
      rows.push(['Picture in', picture], ['Picture out', sentPicture], ['Path', path]);
    }
    this.#rows.replaceChildren(...rows.map(([name, value]) => {
      const row = document.createElement('tr');
      const head = document.createElement('th');
      head.scope = 'row';
      head.textContent = name;
      const cell = document.createElement('td');
      cell.textContent = value || '–';
      row.append(head, cell);
      return row;
    }));
  }
}

// The figures of one report that are of use. Browsers leave some of them out.
function read(report) {
  const all = [...report.values()];
  const of = (type, kind) => all.filter((one) => one.type === type && (!kind || one.kind === kind));
  const sum = (list, member) => list.reduce((total, one) => total + (one[member] ?? 0), 0);
  const selected = of('transport').map((one) => report.get(one.selectedCandidatePairId)).find(Boolean);
  const pair = selected ?? of('candidate-pair').find((one) => one.selected || (one.nominated && one.state === 'succeeded'));
  const inbound = of('inbound-rtp');
  const roundTrips = of('remote-inbound-rtp').map((one) => one.roundTripTime).filter(Number.isFinite);
  const video = of('inbound-rtp', 'video')[0];
  const sent = of('outbound-rtp', 'video')[0];
  return {
    time: pair?.timestamp ?? performance.now(),
    received: pair?.bytesReceived ?? 0,
    sent: pair?.bytesSent ?? 0,
    packets: sum(inbound, 'packetsReceived'),
    lost: sum(inbound, 'packetsLost'),
    decoded: sum(of('inbound-rtp', 'video'), 'framesDecoded'),
    encoded: sum(of('outbound-rtp', 'video'), 'framesEncoded'),
    roundTrip: pair?.currentRoundTripTime ?? (roundTrips.length > 0 ? Math.max(...roundTrips) : null),
    picture: video && { ...video, codec: report.get(video.codecId)?.mimeType },
    sentPicture: sent && { ...sent, codec: report.get(sent.codecId)?.mimeType },
    local: report.get(pair?.localCandidateId),
    remote: report.get(pair?.remoteCandidateId),
  };
}

function difference(before, now) {
  const seconds = Math.max(0.001, (now.time - before.time) / 1000);
  const rate = (member) => Math.max(0, now[member] - before[member]) / seconds;
  const [lost, packets] = [Math.max(0, now.lost - before.lost), Math.max(0, now.packets - before.packets)];
  const picture = (one, frames) =>
    one?.frameWidth && `${one.frameWidth}×${one.frameHeight}, ${Math.round(frames)} fps${one.codec ? `, ${one.codec.split('/').pop()}` : ''}`;
  return {
    received: rate('received') * 8,
    sent: rate('sent') * 8,
    roundTrip: now.roundTrip,
    lost: packets + lost === 0 ? null : lost / (packets + lost),
    picture: picture(now.picture, rate('decoded')),
    sentPicture: picture(now.sentPicture, rate('encoded')),
    path: now.local && `${now.local.candidateType ?? '?'} – ${now.remote?.candidateType ?? '?'}, ${now.local.protocol ?? ''}`,
  };
}

function bits(perSecond) {
  if (perSecond >= 1e6) return `${(perSecond / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(perSecond / 1000)} kbit/s`;
}

// Above the bitrates both ways, below round trip and loss.
function draw(canvas, history) {
  const scale = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = Math.round(width * 0.75);
  [canvas.width, canvas.height] = [width * scale, height * scale];
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  context.font = '11px system-ui, sans-serif';
  const half = height / 2;
  plot(context, history, { top: 0, height: half, width }, [['received', 'received'], ['sent', 'sent']], 100_000, bits);
  plot(context, history, { top: half, height: half, width }, [['roundTrip', 'round trip']], 0.02, (value) => `${Math.round(value * 1000)} ms`);
  bars(context, history, { top: half, height: half, width });
}

function plot(context, history, { top, height, width }, lines, least, unit) {
  const [above, bottom] = [top + 22, top + height - 8];
  const values = history.flatMap((sample) => lines.map(([member]) => sample[member] ?? 0));
  const most = Math.max(least, ...values) * 1.1;
  context.strokeStyle = COLOURS.grid;
  context.lineWidth = 1;
  for (let line = 0; line <= 2; line++) {
    const y = Math.round(above + ((bottom - above) * line) / 2) + 0.5;
    context.beginPath();
    context.moveTo(0, y);
    context.lineTo(width, y);
    context.stroke();
  }
  context.lineWidth = 2;
  let x = 8;
  for (const [member, name] of lines) {
    context.strokeStyle = context.fillStyle = COLOURS[member];
    context.beginPath();
    let pen = false;
    history.forEach((sample, index) => {
      if (sample[member] === null) {
        pen = false;
        return;
      }
      const at = [width - ((history.length - 1 - index) * width) / (SECONDS - 1), bottom - ((bottom - above) * sample[member]) / most];
      if (pen) context.lineTo(...at);
      else context.moveTo(...at);
      pen = true;
    });
    context.stroke();
    context.fillRect(x, top + 7, 9, 9);
    context.fillText(name, x + 13, top + 15);
    x += context.measureText(name).width + 28;
  }
  context.fillStyle = COLOURS.text;
  context.textAlign = 'right';
  context.fillText(unit(most), width - 6, top + 15);
  context.textAlign = 'left';
}

// Loss: a bar as high as the plot is one of 10 % and more.
function bars(context, history, { top, height, width }) {
  const [above, bottom] = [top + 22, top + height - 8];
  context.fillStyle = COLOURS.lost;
  history.forEach((sample, index) => {
    if (!sample.lost) return;
    const tall = Math.min(1, sample.lost * 10) * (bottom - above);
    context.fillRect(width - ((history.length - index) * width) / (SECONDS - 1), bottom - tall, width / SECONDS - 1, tall);
  });
  context.fillRect(90, top + 7, 9, 9);
  context.fillText('loss (10 % is full)', 103, top + 15);
}
