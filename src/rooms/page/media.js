// Our own microphone, camera and screen. Events: `change` (detail: the kind whose track is another now), `problem` (detail: text).

const WORDS = { audio: 'microphone', video: 'camera' };
const WISHES = {
  audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  video: { width: { ideal: 1280 }, height: { ideal: 720 } },
};

export class Media extends EventTarget {
  #devices = { audio: null, video: null };
  #screen = null;
  // The device that was chosen, by kind; the browser's choice without.
  #chosen = {};

  constructor() {
    super();
    this.muted = false;
  }

  // What is sent of a kind.
  track(kind) {
    return (kind === 'video' && this.#screen) || this.#devices[kind];
  }

  get tracks() {
    return { audio: this.track('audio'), video: this.track('video') };
  }

  has(kind) {
    return this.#devices[kind] !== null;
  }

  get sharing() {
    return this.#screen !== null;
  }

  // Opens what is wanted of {audio, video}. Both are asked for at once, so that the user is asked once; where that fails each
  // is tried alone. Gives {kind: text} of what could not be had.
  async open(wanted) {
    const kinds = Object.keys(WORDS).filter((kind) => wanted[kind]);
    const errors = {};
    if (kinds.length === 0 || (kinds.length > 1 && (await this.#ask(kinds)) === null)) return {};
    for (const kind of kinds) {
      const error = await this.#ask([kind]);
      if (error) errors[kind] = error;
    }
    const alike = errors.audio && errors.audio.name === errors.video?.name;
    const words = alike ? { audio: 'microphone or camera', video: 'microphone or camera' } : WORDS;
    return Object.fromEntries(Object.entries(errors).map(([kind, error]) => [kind, explain(error, words[kind])]));
  }

  // Closes the device, so that its light goes out.
  close(kind) {
    this.#set(kind, null);
  }

  mute(muted) {
    this.muted = muted;
    if (this.#devices.audio) this.#devices.audio.enabled = !muted;
  }

  // Takes another device, at once if one of the kind is open.
  async choose(kind, deviceId) {
    this.#chosen[kind] = deviceId;
    if (!this.has(kind)) return null;
    // Some systems give a camera to one at a time.
    this.close(kind);
    return (await this.open({ [kind]: true }))[kind] ?? null;
  }

  async share() {
    let stream;
    try {
      stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 30 } }, audio: false });
    } catch (error) {
      // Closing the browser's dialog is no failure.
      return error.name === 'NotAllowedError' ? null : `The screen cannot be shared: ${error.message}`;
    }
    [this.#screen] = stream.getVideoTracks();
    this.#screen.contentHint = 'detail';
    this.#screen.onended = () => this.unshare();
    this.#changed('video');
    return null;
  }

  // Back to the camera.
  unshare() {
    if (!this.#screen) return;
    this.#screen.onended = null;
    this.#screen.stop();
    this.#screen = null;
    this.#changed('video');
  }

  stop() {
    this.unshare();
    Object.keys(WORDS).forEach((kind) => this.close(kind));
  }

  // The devices there are: [{kind: audioinput…, deviceId, label}]. Without names as long as none was opened.
  static async devices() {
    try {
      return (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    } catch {
      return [];
    }
  }

  // The id of what is open.
  current(kind) {
    return this.#devices[kind]?.getSettings().deviceId;
  }

  // Gives the error, or null.
  async #ask(kinds) {
    try {
      if (!navigator.mediaDevices) throw new DOMException('', 'SecurityError');
      const constraint = (kind) => {
        const deviceId = this.#chosen[kind];
        return kinds.includes(kind) && { ...WISHES[kind], ...(deviceId && { deviceId: { exact: deviceId } }) };
      };
      const stream = await navigator.mediaDevices.getUserMedia({ audio: constraint('audio'), video: constraint('video') });
      for (const track of stream.getTracks()) this.#set(track.kind, track);
      return null;
    } catch (error) {
      if (error.name === 'OverconstrainedError' && kinds.some((kind) => this.#chosen[kind])) {
        // What was chosen is gone.
        kinds.forEach((kind) => delete this.#chosen[kind]);
        return this.#ask(kinds);
      }
      return error;
    }
  }

  #set(kind, track) {
    const old = this.#devices[kind];
    if (old === track) return;
    if (old) {
      old.onended = null;
      old.stop();
    }
    this.#devices[kind] = track;
    if (track) {
      if (kind === 'audio') track.enabled = !this.muted;
      track.onended = () => {
        this.#set(kind, null);
        this.dispatchEvent(new CustomEvent('problem', { detail: `The ${WORDS[kind]} is gone. Plug it in again, or choose another one under Devices.` }));
      };
    }
    this.#changed(kind);
  }

  #changed(kind) {
    this.dispatchEvent(new CustomEvent('change', { detail: kind }));
  }
}

function explain(error, word) {
  switch (error.name) {
    case 'NotAllowedError':
      return `The browser does not let this page use the ${word}. Allow it beside the address (or in the system's settings) and try again, or join without.`;
    case 'NotFoundError':
      return `No ${word} was found. Plug one in and try again, or join without.`;
    case 'NotReadableError':
    case 'AbortError':
      return `The ${word} does not start; maybe another program has it. Close that one and try again, or join without.`;
    case 'SecurityError':
      return `Browsers give the ${word} only to pages by https:// or on localhost. Start the server with --self-signed or a certificate, or join without.`;
    default:
      return `The ${word} cannot be used: ${error.message || error.name}. Choose another one, or join without.`;
  }
}
