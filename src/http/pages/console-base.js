// The operators' console: recent calls, the story of one, the last hour, and the link to Twilio.
//
// One module, put together from files in this order: base.js, console-base.js, console-calls.js, console-lane.js,
// console-story.js, console-handoff.js, console-hour.js, console-link.js, console-start.js. They share their names.
//
// Whatever comes from the server is shown as text; the page's policy lets no script make HTML of a string.

const POLL_MS = 2_000;
const SLOWEST_POLL_MS = 30_000;
const HOUR_MS = 15_000;
const ANSWER_MS = 15_000;
const PAGE = 100;
const MOST = 1_000;

// `session` is what the server says of it; `leaving` ends with it whatever is under way.
const state = { session: null, leaving: new AbortController(), account: '', q: '' };

// --- Elements

function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const name in attributes) made.setAttribute(name, attributes[name]);
  made.append(...children);
  return made;
}

// A word that somebody else chose: its direction is its own, and changes nothing around it.
const theirs = (text, tag = 'bdi', attributes = {}) => el(tag, { dir: 'auto', ...attributes }, String(text));

function show(element, shown = true) {
  if (element.hidden === shown) element.hidden = !shown;
}

// --- Times. Shown as this machine's, and in full, in UTC, to who asks

const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const MINUTE = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

const sameDay = (one, other) => one.toDateString() === other.toDateString();
const inUtc = (text) => `${text.slice(0, 10)} ${text.slice(11, 23).replace('Z', '')} UTC`;

function localTime(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return text;
  return sameDay(date, new Date()) ? CLOCK.format(date) : `${DAY.format(date)} ${CLOCK.format(date)}`;
}

const time = (text) => (text ? el('time', { datetime: text, title: inUtc(text) }, localTime(text)) : '–');

// How long, as short as it may be said.
function span(ms) {
  const seconds = Math.abs(ms) / 1000;
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(Math.round(seconds) / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds) % 60} s`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} days`;
}

// --- The server

// A refusal, or no answer at all: then `code` is NO_ANSWER.
class Refused extends Error {
  constructor(message, { status = 0, code = 'NO_ANSWER', retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }
}

async function refusalOf(response) {
  const told = await response.json().catch(() => ({}));
  return new Refused(told.error_message || `Baton answered ${response.status}`, {
    status: response.status,
    code: told.error_code,
    retryAfter: Number(response.headers.get('retry-after')) || 0,
  });
}

// One request; `signal` may end it before its time. Answers null when nothing is new (304) or nothing is there to
// tell (204).
async function request(path, { signal, etag, ...init } = {}) {
  const signals = [AbortSignal.timeout(ANSWER_MS), signal].filter(Boolean);
  try {
    const response = await fetch(path, {
      cache: 'no-store', redirect: 'error', signal: AbortSignal.any(signals), ...init,
      headers: { ...init.headers, ...(etag && { 'if-none-match': etag }) },
    });
    if (response.status === 304 || response.status === 204) return null;
    if (!response.ok) throw await refusalOf(response);
    const text = await response.text();
    return { text, body: JSON.parse(text), etag: response.headers.get('etag'), status: response.status };
  } catch (error) {
    if (signal?.aborted || error instanceof Refused) throw error;
    throw new Refused('Baton does not answer');
  }
}

const ended = (error) => error.name === 'AbortError';

function target(path, parameters, account) {
  const query = new URLSearchParams();
  for (const name in parameters) if (parameters[name]) query.set(name, parameters[name]);
  if (account) query.set('account_id', account);
  // Relative, for a proxy may serve all of it under a path of its own.
  return `console/${path}?${query}`;
}

// What is asked ahead, before it is known whether there is a session: an answer to who asks the same.
const ahead = { path: '', answer: null };

function askAhead(path, parameters, account) {
  ahead.path = target(path, parameters, account);
  ahead.answer = request(ahead.path).catch(() => null);
}

async function askedAhead(path) {
  const { answer } = ahead;
  const fits = ahead.path === path;
  Object.assign(ahead, { path: '', answer: null });
  return fits ? answer : null;
}

// One request of the session. Where the server knows the session no more, it ends here too.
async function ask(path, parameters = {}, { signal, ...init } = {}) {
  const { account_id: own, any_account: any } = state.session;
  const whole = target(path, parameters, any && state.account !== own ? state.account : '');
  const { leaving } = state;
  const both = AbortSignal.any([leaving.signal, signal].filter(Boolean));
  try {
    const answer = path === 'calls' ? await askedAhead(whole) : null;
    both.throwIfAborted();
    return answer ?? await request(whole, { ...init, signal: both });
  } catch (error) {
    if (error.status === 401 && !leaving.signal.aborted) leave(whyEnded(error.code));
    leaving.signal.throwIfAborted();
    throw error;
  }
}

function whyEnded(code) {
  // The browser drops the cookie at that moment, so the server cannot say so.
  const ends = Date.parse(state.session?.expires_at);
  if (Date.now() > ends - 2_000) return 'The session has ended: its time, or that of its key, is over.';
  if (code === 'KEY_EXPIRED') return 'The session has ended: the time of its key is over.';
  if (code === 'INVALID_KEY') return 'The session has ended: its key was revoked.';
  return 'The session has ended. Sign in again to go on.';
}

// --- The address. What is shown stands in its fragment, which no server is told: #only=near_miss&call=CA…
// The search does not, for it may be somebody's number, and addresses are kept.

const SHOWN = ['connector', 'status', 'only', 'range', 'from', 'to', 'limit', 'account', 'call'];

function address() {
  const given = new URLSearchParams(location.hash.slice(1));
  const read = { view: given.has('link') ? 'link' : 'calls' };
  for (const name of SHOWN) read[name] = given.get(name) ?? '';
  return read;
}

function fragment(changes) {
  const wanted = { ...address(), ...changes };
  const made = new URLSearchParams();
  for (const name of SHOWN) if (wanted[name]) made.set(name, wanted[name]);
  if (wanted.view === 'link') made.set('link', '');
  return `#${made}`.replace(/=(?=&|$)/g, '').replace(/^#$/, '#calls');
}

// --- Copying

function copyable(button, id) {
  button.dataset.copy = id;
  button.title = 'Copy';
  button.setAttribute('aria-label', `Copy ${id}`);
  return button;
}

async function copied(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add('done');
    say('Copied');
    setTimeout(() => button.classList.remove('done'), 1_500);
  } catch {
    say('Not copied: the browser does not allow it');
  }
}
