// --- The handoff: who is calling, whether that is certain, why, what was tried; then all data

const VERIFIED = {
  true: ['good', '✓', 'Verified'],
  false: ['bad', '✕', 'Not verified'],
  unknown: ['warn', '?', 'Not known whether verified'],
};
const BANNERS = {
  contained: ['good', '✓', 'Contained: the voice agent says that it dealt with this call itself.'],
  failed: ['bad', '✕', 'Failed: the voice agent could not finish. Something may be missing; ask the caller.'],
};

// What is shown, if anything: `view` as the server told it, and the elements that show it.
let shown;

function build() {
  const root = at('handoff').content.firstElementChild.cloneNode(true);
  const parts = {};
  for (const element of root.querySelectorAll('[data-part]')) parts[element.dataset.part] = element;
  shown = { root, parts, data: new Data(parts), texts: new Map() };
  parts.read.addEventListener('click', () => acknowledge());
  parts.copy.prepend(icon(TO_COPY));
  parts.call.append(theirs(''), copyButton('call id', () => shown.view.id));
  parts.phone.append(theirs(''), copyButton('phone number', () => shown.view.caller.phone));
  document.querySelector('main').append(root);
  watchForRendering(parts.name);
}

// Shows a handoff, or what is new of it, and marks that.
function show(view, etag) {
  const isUpdate = shown !== undefined;
  if (!isUpdate) build();
  at('notice').hidden = true;
  Object.assign(shown, { view, etag, offset: Date.parse(view.now) - Date.now() });
  const ofHead = drawHead(shown.parts, view);
  const changes = shown.data.draw(view) || ofHead;
  shown.parts.written.replaceChildren(time(new Date(view.written_at)));
  write(shown.parts.call.firstChild, view.id);
  showExpiry(view.expires_at);
  if (isUpdate) shown.updatedAt = performance.now();
  say(isUpdate ? `Updated just now${changes ? `: ${count(changes, 'change')}` : ''}` : 'The handoff is here');
  checkCaller();
  tick();
}

// By this machine's clock, which may be wrong.
function showExpiry(text) {
  if (shown.expiry === text) return;
  Object.assign(shown, { expiry: text, expiresAt: Date.parse(text) - shown.offset });
  shown.parts.kept.replaceChildren(time(new Date(text)));
}

// Nothing of it stays in the page.
function clear() {
  shown?.root.remove();
  shown = undefined;
  at('mismatch').hidden = true;
  at('mismatch-handoff').textContent = at('mismatch-task').textContent = '';
  unwatch();
}

// Fills the elements that tell who and why. How many of them are another than they were.
function drawHead(parts, { caller, why, tried, status, client_env: environment }) {
  let changes = 0;
  const fill = (element, content, draw = asText, isThere = content.length > 0) => {
    const old = shown.texts.get(element);
    const key = JSON.stringify(content);
    element.hidden = !isThere;
    delete element.dataset.mark;
    if (old === key) return;
    shown.texts.set(element, key);
    draw(element, content);
    if (old === undefined) return;
    element.dataset.mark = 'changed';
    changes += 1;
  };
  const { name, phone, verified } = caller;
  fill(parts.name, name || phone || 'Caller unknown');
  fill(parts.verified, VERIFIED[verified] ?? VERIFIED.unknown, drawSigned);
  fill(parts.phone, phone, (element, text) => write(element.firstChild, text), name && phone);
  fill(parts.reason, why.reason);
  fill(parts.summary, why.summary);
  const facts = factsOf(why, environment);
  fill(parts.facts, facts, drawFacts);
  parts.why.hidden = !why.reason && !why.summary && facts.length === 0;
  fill(parts.tried, tried, drawTried);
  fill(parts.banner, BANNERS[status] ?? [], drawSigned);
  return changes;
}

const asText = (element, text) => element.replaceChildren(theirs(text));

// A word with a sign and a colour, for none of them is enough for everybody.
function drawSigned(element, [tone, sign, text]) {
  if (!tone) return;
  element.dataset.tone = tone;
  element.replaceChildren(el('span', { 'aria-hidden': 'true' }, `${sign} `), text);
}

function factsOf({ destination, priority, language }, environment) {
  const isTest = environment !== null && environment !== 'live';
  const facts = [['Test call', isTest ? environment : ''], ['Goes to', destination], ['Language', language]];
  if (priority > 0) facts.push(['Priority', String(priority)]);
  return facts.filter(([, text]) => text !== '');
}

function drawFacts(list, facts) {
  list.replaceChildren(...facts.map(([name, text]) => el('div', {}, el('dt', {}, name), el('dd', {}, theirs(text)))));
}

function drawTried(section, steps) {
  section.querySelector('ol').replaceChildren(...steps.map((step) => el('li', {}, theirs(step))));
}

// --- Whose handoff it is

// Digits only: without `+`, international prefix, or the zero that stands for a country's own. '' for what is
// no number, as a SIP address or `anonymous`.
function digitsOf(number) {
  if (!/^[\s\d().+/-]+$/.test(number)) return '';
  const digits = number.replace(/\(0\)/, '').replace(/\D/g, '').replace(/^0+/, '');
  return digits.length < 7 ? '' : digits;
}

function isOtherCaller(handoff, task) {
  const [one, other] = [digitsOf(handoff), digitsOf(task)];
  return one !== '' && other !== '' && !one.endsWith(other) && !other.endsWith(one);
}

let shownAnyway = '';

// Hides the handoff of somebody who is not the caller of this task, until the agent wants to see it.
function checkCaller() {
  if (!shown) return;
  const { phone } = shown.view.caller;
  const isOther = isOtherCaller(phone, door.caller) && shownAnyway !== `${phone} ${door.caller}`;
  const wasHidden = shown.root.hidden;
  shown.root.hidden = isOther;
  at('mismatch').hidden = !isOther;
  if (!isOther) return;
  at('mismatch-handoff').replaceChildren(theirs(phone));
  at('mismatch-task').replaceChildren(theirs(door.caller));
  if (!wasHidden) say(at('mismatch-title').textContent);
}

at('anyway').addEventListener('click', () => {
  shownAnyway = `${shown.view.caller.phone} ${door.caller}`;
  checkCaller();
  shown.parts.name.focus();
});

// --- What there is to say while there is no handoff to show

// `more` is the next step, and the button looks again.
function notice(title, text = '', more = '', hasButton = false, tone = '') {
  const section = at('notice');
  const isNew = write(at('notice-title'), title) || section.hidden;
  section.hidden = false;
  section.dataset.tone = tone;
  write(at('notice-text'), text);
  write(at('notice-more'), more);
  at('again').hidden = !hasButton;
  if (isNew) say(`${title}. ${text}`);
}
