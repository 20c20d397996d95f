// Recent calls, the newest first. What changes is changed in its place; what is new comes on top while the top is
// in sight, and else waits behind "3 new calls".

const list = {
  // What is shown, by id and in order. `tail` is what was loaded beyond the MOST that are asked for again.
  entries: new Map(),
  order: [],
  tail: [],
  next: null,
  want: PAGE,
  connectors: new Map(),
  // The last question, and the answer to it that waits to be shown.
  asked: '',
  etag: null,
  waiting: null,
  asking: new AbortController(),
  anew: true,
};

const TONES = { ready: 'good', contained: '', failed: 'bad', missing: 'warn', expired: '', erased: '' };
const FLAGS = {
  connected_blind: ['bad', 'connected blind'],
  near_miss: ['warn', 'near miss'],
  refused_signature: ['bad', 'refused signature'],
};
const LATE = { late: 'bad', never: 'bad', open: 'warn' };
const RANGES = { '15m': 15, '1h': 60, '1d': 24 * 60 };

// --- A row

const shortened = (id) => (id.length > 14 ? [id.slice(0, 6), id.slice(6, -4), id.slice(-4)] : [id]);

function newRow(row) {
  const node = at('row-template').content.firstElementChild.cloneNode(true);
  const [link, copy] = node.children[1].children;
  link.href = `#call=${row.id}`;
  const [start, middle, end] = shortened(row.id);
  link.append(start);
  if (middle) link.append(el('span', { class: 'middle' }, middle), end);
  copyable(copy, row.id);
  const entry = { id: row.id, node, told: '' };
  fill(entry, row);
  return entry;
}

const pill = (text, tone) => el('span', { class: `pill ${tone}` }, text);

function where({ connector_id: id, client_env: environment, project_id: project }) {
  const about = [environment, project].filter(Boolean).join(' · ');
  const connector = id && list.connectors.get(id);
  return [theirs(connector?.name || id || 'no connector', 'bdi', connector ? {} : { class: 'quiet' }),
    theirs(about, 'bdi', { class: 'quiet' })];
}

// Changes the row's cells, but neither its link nor its button: one of them may have the focus.
function fill(entry, row) {
  const told = JSON.stringify(row);
  if (entry.told === told) return;
  entry.told = told;
  entry.row = row;
  const [when, , place, status, what] = entry.node.children;
  when.replaceChildren(time(row.last_at));
  place.replaceChildren(...where(row));
  status.replaceChildren(pill(row.status, TONES[row.status] ?? ''));
  for (const flag of row.flags) {
    const [tone, text] = FLAGS[flag] ?? ['', flag];
    status.append(pill(text, tone));
  }
  const inTime = row.flags.includes('connected_blind') ? '' : outcome(row);
  if (inTime) status.append(el('span', { class: `outcome ${LATE[row.outcome] ?? 'quiet'}` }, inTime));
  what.replaceChildren(lane(row));
  if (row.cause) what.append(theirs(row.cause, 'p', { class: 'cause' }));
}

// --- The list

const inSight = () => at('list').hidden
  || at('list').getBoundingClientRect().top > at('bar').getBoundingClientRect().bottom - 8;

// Puts the nodes in order, moving no more than must be moved.
function arrange(entries) {
  const rows = at('rows');
  const focused = rows.contains(document.activeElement) ? document.activeElement : null;
  if (!rows.firstChild) {
    rows.append(...entries.map(({ node }) => node));
    return;
  }
  let here = rows.firstChild;
  for (const { node } of entries) {
    if (node === here) here = here.nextSibling;
    else rows.insertBefore(node, here);
  }
  if (!focused || focused === document.activeElement) return;
  (focused.isConnected ? focused : at('calls-title')).focus({ preventScroll: true });
}

function showCalls(body) {
  const head = body.calls.map((row) => list.entries.get(row.id) ?? newRow(row));
  const ids = new Set(head.map(({ id }) => id));
  if (list.tail.length > 0) {
    // What fell off the end of the head comes before what is behind it.
    const lastKept = list.order.findLastIndex((entry) => ids.has(entry.id) && !list.tail.includes(entry));
    const fallen = list.order.slice(lastKept + 1);
    list.tail = fallen.filter(({ id }) => !ids.has(id));
  } else {
    list.next = body.next;
  }
  const wanted = [...head, ...list.tail];
  const kept = new Set(wanted);
  const focused = document.activeElement;
  for (const entry of list.order) if (!kept.has(entry)) entry.node.remove();
  if (focused !== document.activeElement && list.order.length > 0) at('calls-title').focus({ preventScroll: true });
  list.order = wanted;
  list.entries = new Map(wanted.map((entry) => [entry.id, entry]));
  list.waiting = null;
  arrange(wanted);
  if (story.id) markCurrent(story.id);
  tellCount();
}

function tellCount() {
  const many = list.order.length;
  show(at('list'), many > 0);
  show(at('loading'), false);
  show(at('none'), many === 0 && filtered());
  write(at('none-said'), list.next
    ? 'None of the newest calls is like that; there are more to look at.' : 'No call is like that.');
  show(at('first'), many === 0 && !filtered());
  show(at('more'), Boolean(list.next));
  show(at('fresh'), false);
  write(at('count'), many === 0 ? '' : `${many}${list.next ? ' newest' : ''}`);
}

function receiveConnectors(connectors) {
  const known = JSON.stringify([...list.connectors.values()]);
  if (known === JSON.stringify(connectors)) return;
  list.connectors = new Map(connectors.map((connector) => [connector.id, connector]));
  for (const entry of list.order) entry.node.children[2].replaceChildren(...where(entry.row));
  const options = connectors.map(({ id, name, client_env: environment }) => (
    el('option', { value: id, dir: 'auto' }, `${name || id} (${environment})`)));
  const chosen = address().connector;
  // One that is not listed any more still is what was chosen.
  if (chosen && !list.connectors.has(chosen)) options.push(el('option', { value: chosen }, chosen));
  at('connector').replaceChildren(el('option', { value: '' }, 'All'), ...options);
  at('connector').value = chosen;
}

function receive(body) {
  receiveConnectors(body.connectors);
  for (const row of body.calls) {
    const entry = list.entries.get(row.id);
    if (entry) fill(entry, row);
  }
  const fresh = body.calls.filter(({ id }) => !list.entries.has(id)).length;
  if (list.anew || inSight()) {
    const first = list.anew;
    list.anew = false;
    showCalls(body);
    at('calls').removeAttribute('aria-busy');
    if (first) say(callsSaid(body));
    else if (fresh > 0) sayNow(fresh);
    return;
  }
  list.waiting = body;
  write(at('fresh'), newCalls(fresh));
  show(at('fresh'), fresh > 0);
  if (fresh > 0) sayNow(fresh);
}

const callsSaid = ({ calls, next }) => (
  calls.length === 0 ? 'No calls' : `${calls.length}${next ? ' newest' : ''} calls`);

const newCalls = (count) => (count === 1 ? '1 new call' : `${count} new calls`);

// New calls are told once in half a minute, all together.
const news = { count: 0, at: 0 };
function sayNow(count) {
  news.count += count;
  if (Date.now() - news.at < 30_000) return;
  say(newCalls(news.count));
  Object.assign(news, { count: 0, at: Date.now() });
}

// --- Asking

function wantedCalls() {
  const { connector, status, only, range, from, to } = address();
  const wanted = { q: state.q, connector, status, only };
  if (Object.hasOwn(RANGES, range)) {
    // By whole minutes, so that the question stays the same for a while.
    const minute = Math.floor(Date.now() / 60_000) - RANGES[range];
    wanted.from = new Date(minute * 60_000).toISOString();
  } else if (range === 'own') {
    Object.assign(wanted, { from: inFull(from), to: inFull(to) });
  }
  return wanted;
}

// A time of this machine, as a form has it, as the server wants it.
function inFull(local) {
  const date = new Date(local);
  return Number.isNaN(date.getTime()) ? '' : date.toISOString();
}

const filtered = () => {
  const { connector, status, only, range } = address();
  return Boolean(state.q || connector || status || only || range);
};

async function refreshCalls() {
  list.asking.abort();
  list.asking = new AbortController();
  const wanted = { ...wantedCalls(), limit: list.want };
  const asked = JSON.stringify([state.account, wanted]);
  const etag = asked === list.asked ? list.etag : null;
  const answer = await ask('calls', wanted, { etag, signal: list.asking.signal });
  if (!answer) return;
  Object.assign(list, { asked, etag: answer.etag });
  receive(answer.body);
}

async function loadMore() {
  const { next, want } = list;
  at('more').disabled = true;
  try {
    const answer = await ask('calls', { ...wantedCalls(), after: next, limit: Math.min(MOST, pageSize()) });
    if (list.next !== next) return;
    // A question that is under way knows nothing of these.
    list.asking.abort();
    const older = answer.body.calls.filter(({ id }) => !list.entries.has(id)).map(newRow);
    if (want + older.length > MOST) list.tail.push(...older);
    else list.want = want + older.length;
    list.next = answer.body.next;
    list.order.push(...older);
    for (const entry of older) list.entries.set(entry.id, entry);
    list.waiting = null;
    at('rows').append(...older.map(({ node }) => node));
    tellCount();
    say(`${older.length} more`);
    older[0]?.node.querySelector('a').focus({ preventScroll: true });
  } catch (error) {
    if (!ended(error)) trouble(error);
  } finally {
    at('more').disabled = false;
  }
  poll();
}

const pageSize = () => Math.min(MOST, Number(address().limit) || PAGE);

// Another question: what is shown stays until it is answered.
function askAnew() {
  Object.assign(list, { anew: true, want: pageSize(), tail: [], etag: null, waiting: null });
  at('calls').setAttribute('aria-busy', 'true');
}

function forgetCalls() {
  list.asking.abort();
  Object.assign(list, { entries: new Map(), order: [], connectors: new Map(), next: null, asked: '', etag: null });
  askAnew();
  at('rows').replaceChildren();
  at('connector').replaceChildren(el('option', { value: '' }, 'All'));
  for (const id of ['list', 'none', 'first', 'more', 'fresh']) show(at(id), false);
  for (const id of ['count', 'fresh', 'said']) write(at(id), '');
  show(at('loading'));
}

// --- What a person does

function startCalls() {
  at('legend').append(...legend());
  at('fresh').addEventListener('click', () => {
    if (list.waiting) showCalls(list.waiting);
    at('legend').scrollIntoView({ block: 'start' });
    at('calls-title').focus({ preventScroll: true });
  });
  addEventListener('scroll', () => {
    if (list.waiting && inSight()) showCalls(list.waiting);
  }, { passive: true });
  at('more').addEventListener('click', loadMore);
  // From row to row.
  at('rows').addEventListener('keydown', (event) => {
    const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
    const other = step && event.target.closest('.call')[step];
    if (!other) return;
    event.preventDefault();
    other.querySelector('a').focus();
  });

  const filters = at('filters');
  filters.addEventListener('submit', (event) => {
    event.preventDefault();
    search(at('q').value);
  });
  at('q').addEventListener('search', () => search(at('q').value));
  for (const name of ['connector', 'status', 'only', 'range', 'from', 'to', 'limit']) {
    at(name).addEventListener('change', () => go({ [name]: at(name).value }, { replace: true }));
  }
  for (const id of ['clear', 'clear-too']) at(id).addEventListener('click', clearFilters);
}

function search(text) {
  const q = text.trim();
  if (q === state.q) return;
  state.q = q;
  route();
}

function clearFilters() {
  state.q = '';
  at('q').value = '';
  go({ connector: '', status: '', only: '', range: '', from: '', to: '' }, { replace: true });
  at('q').focus();
}

// The form as the address has it.
function showFilters() {
  const shown = address();
  for (const name of ['connector', 'status', 'only', 'range', 'from', 'to', 'limit']) {
    if (document.activeElement !== at(name) || at(name).tagName === 'SELECT') at(name).value = shown[name];
  }
  for (const field of document.querySelectorAll('.own')) show(field, shown.range === 'own');
  show(at('clear'), filtered());
}
