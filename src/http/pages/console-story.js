// One call's story: what was likely wrong, in sentences; its picture; all that happened, with who and when.

const story = { id: '', text: '', etag: null, scroll: 0 };

const ACTIONS = {
  to_agent: 'to the agent',
  enqueue: 'to a workflow of Flex',
  dial: 'to a number or SIP address',
  refer: 'to a SIP address, by REFER',
  hangup: 'ended',
  flow: 'back into its Studio flow',
  fallback: 'to the fallback',
};
const RECEIPTS = { fetched: 'Fetched', rendered: 'On screen', accepted: 'Accepted', acknowledged: 'Acknowledged' };
const REASONS = {
  never_written: 'nothing was written yet',
  expired: 'it had expired',
  erased: 'it was erased',
  in_other_project: 'it is of another project',
  in_other_environment: 'it is of another environment',
  earlier_visit: 'only the visit before had written',
};

const bytes = (count) => (count < 10_000 ? `${count} bytes` : `${(count / 1000).toFixed(1)} kB`);
const or = (table, name) => (Object.hasOwn(table, name) ? table[name] : String(name));
const onlyIf = (value, text) => (value === undefined || value === null || value === '' ? '' : text(value));

// What happened, and the details of it, by the name of the event.
const EVENTS = {
  routed: (it) => ['Routed', [or(ACTIONS, it.action), onlyIf(it.leg, (leg) => `visit ${leg}`)]],
  packed: (it) => [
    it.for === 'studio' ? 'Answered to Studio' : 'Put into the task',
    [it.left_out?.length > 0 ? `left out: ${it.left_out.join(', ')}` : 'all of it'],
  ],
  written: (it) => [it.created ? 'Written' : 'Written again', [
    onlyIf(it.size_bytes, bytes), onlyIf(it.revision, (revision) => `revision ${revision}`),
    onlyIf(it.expires_at, (until) => `lives until ${localTime(until)}`),
  ]],
  renewed: (it) => ['Renewed', [
    'the same content', onlyIf(it.expires_at, (until) => `lives until ${localTime(until)}`),
  ]],
  held: (it) => ['Held', [onlyIf(it.until, (until) => `until ${localTime(until)} at least`)]],
  read: () => ['Read', []],
  waited: (it) => ['Read after a wait', [`waited ${span(it.waited_ms)}`]],
  missed: (it) => ['Missed', [
    or(REASONS, it.reason), onlyIf(it.waited_ms, (waited) => `waited ${span(waited)}`) || 'nobody waited',
  ]],
  refused: (it) => ['Refused', [it.reason]],
  receipt: (it) => [or(RECEIPTS, it.receipt), []],
  taskrouter: (it) => ['TaskRouter', [it.type]],
  call_status: (it) => ['Call status', [it.status]],
  agent_failed: (it) => ['Agent failed', [onlyIf(it.leg, (leg) => `visit ${leg}`)]],
  task_updated: () => ['Task brought up to date', ['what was written late was put into it']],
  expired: () => ['Expired', []],
  erased: () => ['Erased', []],
};
const WRONG = { missed: 'warn', refused: 'bad', agent_failed: 'bad' };

function repeated(event) {
  if (!(event.count > 1)) return '';
  return `${event.count} times, the last ${localTime(event.last_at)}`;
}

function who(event) {
  const name = event.worker || event.by || event.connector_id || '';
  const known = list.connectors.get(name)?.name;
  return [event.door ? byWhom(event.door) : '', known || name].filter(Boolean);
}

function eventRow(event, begin) {
  const tell = Object.hasOwn(EVENTS, event.event) ? EVENTS[event.event] : () => [byWhom(event.event), []];
  const [what, details] = tell(event);
  const ids = [event.task_sid, event.reservation_sid].filter(Boolean);
  const rest = [...details, repeated(event)].filter(Boolean);
  const ms = Date.parse(event.at) - begin;
  return el('tr', {},
    el('td', {}, time(event.at)),
    el('td', { class: 'number' }, `${ms < 0 ? '−' : '+'}${(Math.abs(ms) / 1000).toFixed(3)} s`),
    el('td', { class: WRONG[event.event] ?? '' }, what),
    el('td', {}, ...who(event).map((text) => theirs(text))),
    el('td', {}, ...rest.map((text) => theirs(text)), ...ids.map((id) => theirs(id, 'bdi', { class: 'mono quiet' }))));
}

function acceptanceRow(acceptance) {
  const { worker, worker_sid: sid, accepted_at: accepted, rendered_at: rendered, task_sid: task } = acceptance;
  const tone = LATE[acceptance.outcome] ?? '';
  return el('tr', {},
    el('td', {}, theirs(worker || sid || 'not known')),
    el('td', {}, accepted ? time(accepted) : 'not told'),
    el('td', {}, rendered ? time(rendered) : 'not told'),
    el('td', { class: tone }, outcome(acceptance) || 'cannot be told'),
    el('td', {}, theirs(task || '', 'bdi', { class: 'mono quiet' })));
}

// Only what is a page of the web becomes a link.
function outward(text, name) {
  let url;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  if (url.protocol !== 'https:') return null;
  return el('a', { href: url.href, target: '_blank', rel: 'noopener noreferrer' }, name);
}

const LINKS = { call: 'The call at Twilio', flow: 'Its Studio flow', task: 'Its task' };

function facts(row) {
  const connector = list.connectors.get(row.connector_id)?.name || row.connector_id;
  const told = [
    ['Status', row.status], ['Connector', connector], ['Environment', row.client_env], ['Project', row.project_id],
    ['Shared id', row.shared_id], ['Context', outcome(row)],
  ];
  return told.filter(([, value]) => value).map(([name, value]) => (
    el('span', {}, `${name} `, theirs(value, 'b'))));
}

// Puts in what changed, and leaves alone what did not: there may be a selection, or the focus.
function putStory({ row, sentences, events, left_out: leftOut, acceptances, links }) {
  write(at('story-id'), row.id);
  copyable(at('story-copy'), row.id);
  at('story-facts').replaceChildren(...facts(row));
  at('sentences').replaceChildren(...sentences.map((sentence, index) => (
    theirs(sentence, 'p', index === 0 && row.cause ? { class: 'notice warn' } : {}))));
  at('picture').replaceChildren(picture(row));
  const outside = Object.keys(LINKS).map((name) => links[name] && outward(links[name], LINKS[name])).filter(Boolean);
  if (String(outside) !== String([...at('story-links').children])) at('story-links').replaceChildren(...outside);
  show(at('handoff-part'), state.session.scopes.includes('handoff:read'));
  const begin = Date.parse(events[0]?.at);
  at('events').replaceChildren(...events.map((event) => eventRow(event, begin)));
  at('acceptances').replaceChildren(...acceptances.map(acceptanceRow));
  show(at('acceptances-part'), acceptances.length > 0);
  write(at('left-out'), leftOut > 0 ? `${leftOut} events more had to go; 256 of a call are kept.` : '');
  show(at('left-out'), leftOut > 0);
  show(at('story-body'));
}

async function refreshStory() {
  const { id } = story;
  if (!id) return;
  try {
    const answer = await ask('call', { id }, { etag: story.etag });
    if (story.id !== id || !answer) return;
    show(at('story-trouble'), false);
    story.etag = answer.etag;
    if (answer.text === story.text) return;
    story.text = answer.text;
    putStory(answer.body);
  } catch (error) {
    if (story.id !== id || ![400, 403, 404].includes(error.status)) throw error;
    show(at('story-body'), false);
    write(at('story-trouble'), error.message);
    show(at('story-trouble'));
  }
}

// --- Opening and closing

const covered = () => getComputedStyle(at('calls')).display === 'none';

// Changes how wide the list is, and leaves that row where it was on the screen.
function keepingInPlace(id, change) {
  const node = list.entries.get(id)?.node;
  const before = node && !covered() ? node.getBoundingClientRect().top : null;
  change();
  if (before !== null && !covered()) scrollBy(0, node.getBoundingClientRect().top - before);
}

function openStory(id) {
  if (story.id === id) return;
  const already = Boolean(story.id);
  forgetStory();
  story.id = id;
  if (!already) story.scroll = scrollY;
  write(at('story-id'), id);
  copyable(at('story-copy'), id);
  document.title = `Call ${id.slice(0, 10)} – Baton console`;
  markCurrent(id);
  keepingInPlace(id, () => {
    show(at('story'));
    at('work').classList.add('with-story');
  });
  at('story').scrollTop = 0;
  if (covered()) scrollTo(0, 0);
  at('story-title').focus({ preventScroll: true });
}

function closeStory() {
  const { id, scroll } = story;
  if (!id) return;
  const wasCovered = covered();
  keepingInPlace(id, forgetStory);
  if (wasCovered) scrollTo(0, scroll);
  list.entries.get(id)?.node.querySelector('a').focus({ preventScroll: !wasCovered });
}

function forgetStory() {
  Object.assign(story, { id: '', text: '', etag: null });
  document.title = 'Baton console';
  show(at('story'), false);
  show(at('story-body'), false);
  show(at('story-trouble'), false);
  show(at('handoff-part'), false);
  at('work').classList.remove('with-story');
  markCurrent('');
  forgetHandoff();
  for (const id of ['story-id', 'story-trouble', 'left-out']) write(at(id), '');
  for (const id of ['story-facts', 'sentences', 'picture', 'story-links', 'events', 'acceptances']) {
    at(id).replaceChildren();
  }
  const copy = at('story-copy');
  delete copy.dataset.copy;
  copy.removeAttribute('aria-label');
}

// Which row is told of.
function markCurrent(id) {
  const mark = (node, is) => {
    node?.classList.toggle('told', is);
    if (is) node?.querySelector('a').setAttribute('aria-current', 'true');
    else node?.querySelector('a').removeAttribute('aria-current');
  };
  mark(document.querySelector('#rows .told'), false);
  mark(list.entries.get(id)?.node, Boolean(id));
}

function startStory() {
  at('close').addEventListener('click', leaveStory);
  at('story').addEventListener('keydown', (event) => {
    if (event.key === 'Escape') leaveStory();
  });
}

// Back to where it was opened from, if that was here.
function leaveStory() {
  if (history.state?.opened) history.back();
  else go({ call: '' }, { replace: true });
}
