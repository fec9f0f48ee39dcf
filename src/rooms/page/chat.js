// The list of messages and the line to write one. What others write is text, never markup.

const MOST_SHOWN = 500;
const LONGEST = 20_000;

export class Chat {
  #log;
  #input;
  #button;

  // `send(text)` gives an error to show, or null.
  constructor(log, form, send) {
    this.#log = log;
    this.#input = form.querySelector('textarea');
    this.#button = form.querySelector('button');
    form.onsubmit = (event) => {
      event.preventDefault();
      const text = this.#input.value;
      if (text.trim() === '' || this.#input.disabled) return;
      const problem = send(text);
      if (problem) {
        this.event(problem);
        return;
      }
      this.#add('ours', 'You', text);
      this.#input.value = '';
      this.#fit();
    };
    this.#input.onkeydown = (event) => {
      // A line feed by Shift; an input method takes Enter for itself.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    };
    this.#input.oninput = () => this.#fit();
  }

  enable(able, placeholder) {
    this.#input.disabled = this.#button.disabled = !able;
    this.#input.placeholder = placeholder;
  }

  focus() {
    this.#input.focus();
  }

  said(who, text) {
    this.#add('theirs', who, text);
  }

  event(text) {
    this.#add('event', null, text);
  }

  #add(kind, who, text) {
    const item = document.createElement('li');
    item.className = kind;
    if (who !== null) {
      const head = document.createElement('span');
      head.className = 'who';
      head.textContent = `${who}, ${new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })}`;
      item.append(head);
    }
    const body = document.createElement('bdi');
    body.className = 'text';
    body.textContent = text.length > LONGEST ? `${text.slice(0, LONGEST)}… (cut)` : text;
    item.append(body);
    const log = this.#log;
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 40;
    log.append(item);
    while (log.children.length > MOST_SHOWN) log.firstChild.remove();
    if (atEnd || kind === 'ours') log.scrollTop = log.scrollHeight;
  }

  #fit() {
    this.#input.style.height = 'auto';
    this.#input.style.height = `${this.#input.scrollHeight + 2}px`;
  }
}
