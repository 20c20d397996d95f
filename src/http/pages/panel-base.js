// The panel: what an agent sees of the handoff of one call, and follows while the call goes on.
//
// One module, put together from files in this order: base.js, panel-base.js, panel-door.js, panel-fields.js,
// panel-show.js, panel-receipts.js, panel-follow.js. They share their names.
//
// Whatever comes from the server is shown as text; the page's policy lets no script make HTML of a string.

const ANSWER_MS = 15_000;

// What the address asks for; nothing else of it is passed on.
const asked = new URLSearchParams(location.search);
const subject = {};
for (const name of ['id', 'shared_id', 'account_id', 'project_id', 'client_env']) {
  if (asked.get(name)) subject[name] = asked.get(name);
}

// --- Elements

// What somebody else wrote. Its direction is its own; and it is a block, for what it may hold to turn the
// direction of text ends with a block, but not always with an inline element.
const theirs = (text) => el('bdi', { class: 'theirs', dir: 'auto' }, text);

function button(name, click, ...children) {
  const made = el('button', { type: 'button', class: name }, ...children);
  made.addEventListener('click', click);
  return made;
}

const count = (number, one) => `${number.toLocaleString('en')} ${one}${number === 1 ? '' : 's'}`;

// --- Times, as this machine's clock and its user's custom have them

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const DAY_AND_CLOCK = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

function time(date) {
  const today = date.toDateString() === new Date().toDateString();
  return el('time', { datetime: date.toISOString() }, (today ? CLOCK : DAY_AND_CLOCK).format(date));
}

// How long, as one would say it.
function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return count(Math.round(seconds / 3600), 'hour');
}

// --- Waiting

// Waits for `ms`, or for good, until somebody rings.
class Bell {
  #ends = new Set();

  wait(ms) {
    return new Promise((done) => {
      this.#ends.add(done);
      if (ms !== undefined) setTimeout(() => this.#ends.delete(done) && done(), ms);
    });
  }

  ring() {
    for (const done of this.#ends) done();
    this.#ends.clear();
  }
}

// A little more than `ms`, so that not all panels of a floor come back at once.
const jittered = (ms) => ms * (1 + Math.random() / 4);

// How long to wait after so many failures, and at least as long as the server asks for.
const patience = (failures, least = 0) => jittered(Math.max(least, Math.min(30_000, 500 * 2 ** failures)));

// --- Asking

// Throws when nothing comes back. `code` is what the server calls its refusal.
async function ask(path, query = {}, { method = 'GET', headers = {}, body, signal } = {}) {
  const leave = await takeLeave(signal);
  // Relative, for a proxy may serve all of it under a path of its own.
  const response = await fetch(`${path}?${new URLSearchParams({ ...subject, ...query })}`, {
    method,
    headers: { ...(body && { 'content-type': 'application/json' }), ...leave.headers, ...headers },
    body: body && JSON.stringify(body),
    cache: 'no-store',
    credentials: 'omit',
    redirect: 'error',
    signal: AbortSignal.any([AbortSignal.timeout(ANSWER_MS), ...(signal ? [signal] : [])]),
  });
  const text = await response.text();
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    // None, as in a 304; or not Baton's own, but of something on the way to it.
  }
  const retryMs = 1000 * (Number(response.headers.get('retry-after')) || 0);
  const { error_code: code = '', error_id: errorId = '' } = json ?? {};
  return { status: response.status, headers: response.headers, text, json, code, errorId, retryMs, leave };
}

// What may be otherwise the next time.
const isPassing = (status) => status === 408 || status === 429 || status >= 500;

// --- The clipboard

// Copies a text, or what a promise of one brings. Whether that was possible.
async function copy(text) {
  try {
    // Begun at once: some browsers take it only as part of the click.
    const blob = Promise.resolve(text).then((known) => new Blob([known], { type: 'text/plain' }));
    await navigator.clipboard.write([new ClipboardItem({ 'text/plain': blob })]);
    return true;
  } catch {
    return copyBySelection(await text);
  }
}

// For frames that may not write to the clipboard, and without TLS.
function copyBySelection(text) {
  const focused = document.activeElement;
  const area = el('textarea', { class: 'unseen' });
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  focused?.focus({ preventScroll: true });
  return copied;
}

// Signs: two sheets, a tick, a cross.
const TO_COPY = 'M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3';
const COPIED = 'M3 8.5l3.5 3.5L13 4.5';
const NOT_COPIED = 'M4 4l8 8M12 4l-8 8';

function icon(sign) {
  const [drawn, line] = ['svg', 'path'].map((name) => document.createElementNS('http://www.w3.org/2000/svg', name));
  drawn.setAttribute('viewBox', '0 0 16 16');
  drawn.setAttribute('aria-hidden', 'true');
  line.setAttribute('d', sign);
  drawn.append(line);
  return drawn;
}

// A button that copies what `text` gives at that time.
function copyButton(what, text) {
  const made = button('copy', () => copyFrom(made, text(), what), icon(TO_COPY));
  made.setAttribute('aria-label', `Copy ${what}`);
  return made;
}

// Copies, and lets the button's sign say for a moment how it went.
async function copyFrom(from, text, what) {
  const copied = await copy(text).catch(() => false);
  const sign = (path) => from.querySelector('path').setAttribute('d', path);
  sign(copied ? COPIED : NOT_COPIED);
  say(copied ? `Copied ${what}` : `Could not copy ${what}`);
  clearTimeout(from.timer);
  from.timer = setTimeout(sign, 1500, TO_COPY);
}
