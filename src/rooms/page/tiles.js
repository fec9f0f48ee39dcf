// The pictures of the others: one tile for each.

// Seconds without a new picture after which a name stands in its place.
const STALLED = 3;

export class Tile {
  #video;
  #cover;
  #coverText;
  #still = STALLED;

  // `blocked()` is called when the browser does not play sound without a click.
  constructor(name, stream, blocked) {
    this.blocked = blocked;
    this.element = document.createElement('div');
    this.element.className = 'tile';
    this.#video = document.createElement('video');
    this.#video.autoplay = this.#video.playsInline = true;
    this.#video.setAttribute('aria-label', `Picture of ${name}`);
    this.#video.srcObject = stream;
    this.#cover = document.createElement('div');
    this.#cover.className = 'no-picture';
    const initial = document.createElement('div');
    initial.className = 'initial';
    initial.setAttribute('aria-hidden', 'true');
    initial.textContent = [...name][0]?.toUpperCase() ?? '?';
    this.#coverText = document.createElement('div');
    this.#cover.append(initial, this.#coverText);
    const label = document.createElement('span');
    label.className = 'tile-name';
    label.textContent = name;
    this.element.append(this.#video, this.#cover, label);
    // The first picture shows at once; that there is none any more, a little later.
    this.#video.onresize = this.#video.onplaying = () => {
      if (this.#video.videoWidth > 0) this.seen(1);
    };
    this.state('Connecting…');
  }

  play() {
    this.#video.play().catch((error) => {
      if (error.name === 'NotAllowedError') this.blocked();
    });
  }

  // What stands where there is no picture; `dimmed`: over one that is old.
  state(text, dimmed = false) {
    this.#coverText.textContent = text;
    this.element.classList.toggle('dimmed', dimmed);
  }

  // So many pictures came in the last second.
  seen(frames) {
    this.#still = frames > 0 ? 0 : this.#still + 1;
    this.#cover.hidden = this.#still < STALLED;
  }

  speaker(id) {
    if (id) this.#video.setSinkId?.(id).catch((error) => console.warn('speaker:', error));
  }

  remove() {
    this.#video.srcObject = null;
    this.element.remove();
  }
}
