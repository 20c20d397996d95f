// --- Following: one request after the other, each held by Baton until there is something new

const WAIT_S = 8;
const PATIENT_MS = 60_000;
const SLOWLY_MS = 12_000;
const LEAST_MS = 1_000;
const LONG_MS = 5_000;
const UPDATED_FOR_MS = 10_000;

const ASK_CALLER = 'Ask the caller what they need.';
const OPEN_AGAIN = 'Open the link again from where you found it.';
const TELL = 'If this stays, tell an administrator this number: ';
const NO_CALL = ['This address names no call',
  'A link to a handoff has “id=” and a call’s id in it.', OPEN_AGAIN, 'end'];

// What a refusal means to the agent: a title, what it is, and what to do next. `end` is for what asking again
// does not change.
const REFUSALS = {
  HANDOFF_EXPIRED: ['This handoff has expired', 'It was kept for a time, which is over.', ASK_CALLER],
  HANDOFF_ERASED: ['This handoff was erased', 'Nothing of it is kept.', ASK_CALLER],
  HANDOFF_IN_OTHER_PROJECT: ['This handoff belongs to another project',
    'You may not see what is that project’s.', 'An administrator can change that.'],
  HANDOFF_IN_OTHER_ENVIRONMENT: ['This handoff belongs to another environment',
    'One of you is in a test: the voice agent, or this page.', OPEN_AGAIN],
  ROLE_NOT_ALLOWED: ['Your Flex role may not see handoffs',
    'Agents, supervisors and administrators may.', 'An administrator can give you one of these roles.'],
  ACCOUNT_NOT_LINKED: ['This Flex account is not linked',
    'Baton does not know your Twilio account.', 'An administrator links it to a connector, with its Connector Token.'],
  CALL_NOT_ALLOWED: ['This link is for another call', 'It opens one handoff, and not this one.', OPEN_AGAIN],
  INVALID_ID: NO_CALL,
};
const LINK_OLD = ['This link has expired',
  'Links to a handoff are good for a short time.', 'Ask for a new one where you found it.', 'end'];
const LINK_BAD = ['This link opens nothing',
  'It was cut off, or it was taken back.', 'Copy all of the link, or ask for a new one.', 'end'];
const NOT_YOU = ['Baton does not accept your Flex session',
  'It may have ended.', 'Sign in to Flex again. If that does not help, tell an administrator.'];
const HOW_TO_OPEN = ['Open this page from a link',
  'It shows the handoff of one call to whoever may see it.',
  'Use the link of the call’s task, or open the call in Flex.', 'end'];
const MISSED = ['No handoff for this call',
  'The voice agent has written none so far. This page goes on looking.', ASK_CALLER];
const CHECK_FLEX = 'It has not answered. An administrator checks that the Baton plugin runs in Flex, '
  + 'and that BATON_FRAME_ANCESTORS names the page around this one.';

// `told` is what is told in place of a handoff. `trouble` is why the last request brought nothing, and when it
// is tried again; but never before `notBefore`, when Baton asks for that.
const following = {
  since: performance.now(), freshAt: 0, failures: 0, refusals: 0, notBefore: 0,
  told: undefined, trouble: undefined, looking: new AbortController(),
};
const wake = new Bell();

function tell(refusal) {
  clear();
  following.told = refusal;
  tick();
}

// --- What came back

// Each gives for how long to wait then; undefined is until something happens.
function settle(answer, startedAt) {
  const { status, code } = answer;
  // A network may put its own page in the way.
  if (isPassing(status) || (status === 200 && !answer.json?.fields)) return failed(whyBusy(answer), answer);
  Object.assign(following, { failures: 0, trouble: undefined });
  const least = Math.max(0, LEAST_MS - (performance.now() - startedAt));
  if (status === 401) return refused(answer);
  following.refusals = 0;
  // The next time, Flex may have signed in somebody else.
  door.refused = status === 403;
  if (status === 200 || status === 304) {
    following.freshAt = performance.now();
    following.told = undefined;
    if (status === 200) show(answer.json, answer.headers.get('etag'));
    else showExpiry(answer.headers.get('x-handoff-expires-at') ?? shown.expiry);
    return least;
  }
  if (code === 'HANDOFF_NOT_FOUND') return missed(least);
  const other = ['You may not see this handoff', `Baton answers ${code || status}.`, TELL + answer.errorId];
  const refusal = REFUSALS[code] ?? other;
  tell(refusal);
  return refusal[3] ? undefined : jittered(SLOWLY_MS);
}

function whyBusy({ status, code }) {
  if (code === 'IDENTITY_UNAVAILABLE') return 'Twilio cannot say just now who you are.';
  return status === 429 ? 'Too much was asked in a short time.' : 'Baton is busy.';
}

function missed(least) {
  if (shown) following.since = performance.now();
  const isLate = performance.now() - following.since >= PATIENT_MS;
  tell(isLate ? MISSED : undefined);
  return isLate ? jittered(SLOWLY_MS) : least;
}

function refused({ code, leave }) {
  if (leave.by === 'link') {
    keepLink('');
    tell(code === 'TOKEN_EXPIRED' ? LINK_OLD : LINK_BAD);
    return door.token ? 0 : undefined;
  }
  door.refused = true;
  following.refusals += 1;
  if (following.refusals === 1) return 0;
  tell(NOT_YOU);
  return patience(following.refusals);
}

// Nothing is taken away from who reads it because a request failed.
function failed(text, { retryMs = 0, errorId = '' } = {}) {
  following.failures += 1;
  const pause = patience(following.failures, retryMs);
  const since = following.trouble?.since ?? performance.now();
  following.notBefore = performance.now() + retryMs;
  following.trouble = { text, errorId, since, againAt: performance.now() + pause };
  tick();
  return pause;
}

// --- What time tells

function tick() {
  if (shown && Date.now() >= shown.expiresAt) {
    following.looking.abort();
    wake.ring();
    return tell(REFUSALS.HANDOFF_EXPIRED);
  }
  const now = performance.now();
  const { told, trouble } = following;
  if (shown) return drawLive(shown.parts.live, now, trouble);
  if (trouble) {
    const isLong = trouble.errorId && now - trouble.since > LONG_MS;
    const more = isLong ? TELL + trouble.errorId : '';
    return notice('Baton cannot be asked just now', `${trouble.text} ${again(trouble, now)}`, more, true);
  }
  if (told) return notice(told[0], told[1], told[2], !told[3], 'warn');
  if (door.wantedAt) {
    const isLong = now - door.wantedAt > LONG_MS;
    const [more, tone] = isLong ? [CHECK_FLEX, 'warn'] : [];
    return notice('Waiting for Flex', 'Flex has to say who you are.', more, false, tone);
  }
  return notice('Waiting for the handoff', `It is not here yet. Looking for ${span(now - following.since)}.`);
}

const again = ({ againAt }, now) => `Trying again ${againAt - now < 1000 ? 'now' : `in ${span(againAt - now)}`}.`;

function drawLive(element, now, trouble) {
  const age = now - (shown.updatedAt ?? now);
  const updated = age < UPDATED_FOR_MS ? 'just now' : `${span(age)} ago`;
  let text = shown.updatedAt ? `● Updated ${updated}` : '● Up to date';
  if (trouble) text = `! ${trouble.text} What you see is ${span(now - following.freshAt)} old. ${again(trouble, now)}`;
  element.dataset.tone = trouble ? 'warn' : 'good';
  write(element, text);
}

// --- The loop

async function look() {
  following.looking = new AbortController();
  const { signal } = following.looking;
  const startedAt = performance.now();
  const query = { wait: WAIT_S };
  const headers = {};
  if (shown) {
    query.min_revision = shown.view.revision + 1;
    headers['if-none-match'] = shown.etag;
  }
  const answer = await ask('v1/handoff_state/view', query, { headers, signal }).catch(() => undefined);
  if (signal.aborted) return 0;
  if (answer) return settle(answer, startedAt);
  return failed(navigator.onLine ? 'Baton does not answer.' : 'There is no network.');
}

// For how long to wait before the next look; undefined is until something happens.
function rest() {
  if (document.hidden) return undefined;
  const hasLeave = door.link || door.token || framed;
  if (!subject.id && !subject.shared_id) tell(NO_CALL);
  else if (!hasLeave && !following.told) tell(HOW_TO_OPEN);
  else if (hasLeave) return Math.max(0, following.notBefore - performance.now());
  return undefined;
}

async function follow() {
  for (;;) {
    const pause = rest();
    await wake.wait(pause === 0 ? await look() : pause);
  }
}

function startAfresh() {
  following.since = performance.now();
  following.told = undefined;
  following.looking.abort();
  tokenCame.ring();
  wake.ring();
}

addEventListener('message', (event) => {
  const { taskSid } = door;
  const hadToken = door.token !== '';
  if (!takeToken(event)) return;
  checkCaller();
  if (taskSid !== door.taskSid) tellRendered();
  if (!hadToken) wake.ring();
});
addEventListener('hashchange', () => {
  if (!location.hash) return;
  takeLink();
  clear();
  startAfresh();
});
addEventListener('online', () => wake.ring());
document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    following.looking.abort();
  } else {
    if (!shown) following.since = performance.now();
    tellRendered();
    retry.ring();
  }
  tokenCame.ring();
  wake.ring();
});
at('again').addEventListener('click', startAfresh);

takeLink();
setInterval(tick, 1000);
askParent();
follow();
