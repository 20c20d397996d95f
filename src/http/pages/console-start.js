// Signing in and out, what the address asks for, and the asking again and again while somebody looks.

let timer = 0;
let ending = 0;
let runs = 0;
let failures = 0;
let paused = false;
let question = '';

// --- The session

async function signIn(event) {
  event.preventDefault();
  const key = at('key').value.trim();
  at('key').value = '';
  if (!/^[\x21-\x7e]+$/.test(key)) {
    signInSaid('That is no key: it has other characters than a key has.');
    return;
  }
  const button = at('sign-in-form').querySelector('button');
  button.disabled = true;
  try {
    const { body } = await request('console/session', { method: 'POST', headers: { 'x-api-key': key } });
    enter(body);
  } catch (error) {
    signInSaid(whyRefused(error));
  } finally {
    button.disabled = false;
  }
}

function whyRefused(error) {
  if (error.code === 'MISSING_SCOPE') {
    return 'This key may not see calls: it lacks the scope ops:read. Make one with baton key new --scope ops:read.';
  }
  return error.message;
}

function signInSaid(text) {
  show(at('why'), Boolean(text));
  write(at('why'), text);
  at('key').focus();
}

function enter(session) {
  state.session = session;
  state.leaving = new AbortController();
  show(at('sign-in'), false);
  show(at('work'));
  show(at('views'));
  show(at('who'));
  show(at('account-form'), session.any_account);
  at('name').replaceChildren('Signed in as ', theirs(session.name, 'b'));
  question = '';
  route();
  endsInTime();
}

// Nothing of the calls stays behind.
function leave(why = '') {
  state.session = null;
  state.leaving.abort(new DOMException('The session has ended', 'AbortError'));
  clearTimeout(timer);
  clearTimeout(ending);
  history.replaceState(null, '', location.pathname);
  Object.assign(state, { q: '', account: '' });
  at('filters').reset();
  at('account-form').reset();
  forgetStory();
  forgetCalls();
  forgetHour();
  forgetLink();
  setPaused(false);
  recovered();
  at('name').replaceChildren();
  write(at('live'), '');
  for (const id of ['work', 'views', 'who']) show(at(id), false);
  show(at('sign-in'));
  signInSaid(why);
}

async function signOut() {
  const { session } = state;
  try {
    await request('console/session', { method: 'DELETE' });
    if (state.session === session) leave();
  } catch (error) {
    if (error.status === 401) leave();
    else trouble(new Refused(`Not signed out: ${error.message}. Try again.`));
  }
}

// A page that nobody looks at asks nothing, but does not outlast its session.
function endsInTime() {
  clearTimeout(ending);
  const left = Date.parse(state.session.expires_at) - Date.now();
  ending = setTimeout(async () => {
    await ask('session').catch(() => {});
    if (state.session) endsInTime();
  }, Math.max(60_000, left + 1_000));
}

async function begin() {
  askAhead('calls', { ...wantedCalls(), limit: pageSize() }, address().account);
  try {
    const { body } = await request('console/session');
    enter(body);
  } catch (error) {
    show(at('sign-in'));
    signInSaid(error.code === 'MISSING_CREDENTIALS' ? '' : error.status === 401 ? whyEnded(error.code) : error.message);
  }
}

// --- What the address asks for

function go(changes, { replace = false, opened = false } = {}) {
  const wanted = fragment({ view: 'calls', ...changes });
  if (replace) history.replaceState(history.state, '', wanted);
  else if (wanted !== location.hash) history.pushState(opened ? { opened } : null, '', wanted);
  route();
}

function route() {
  if (!state.session) return;
  const { view, call, account, ...filters } = address();
  const own = state.session.account_id;
  state.account = state.session.any_account ? account || own : own;
  if (document.activeElement !== at('account')) at('account').value = state.account;
  showFilters();
  const asked = JSON.stringify([state.account, state.q, filters]);
  if (asked !== question) {
    if (JSON.parse(question || '[""]')[0] !== state.account) {
      forgetStory();
      forgetHour();
    }
    question = asked;
    askAnew();
  }
  showView(view);
  if (view === 'link') forgetStory();
  else if (call) openStory(call);
  else closeStory();
  poll();
}

function showView(view) {
  const linking = view === 'link';
  const changed = at('link').hidden === linking;
  show(at('desk'), !linking);
  show(at('link'), linking);
  for (const [id, current] of [['to-calls', !linking], ['to-link', linking]]) {
    if (current) at(id).setAttribute('aria-current', 'page');
    else at(id).removeAttribute('aria-current');
  }
  if (!changed) return;
  if (linking) at('link-title').focus();
  else forgetLink();
}

// --- Asking again and again

async function poll() {
  clearTimeout(timer);
  if (!state.session || document.hidden) return;
  runs += 1;
  const run = runs;
  const results = await Promise.allSettled([refreshCalls().then(refreshHour), refreshStory()]);
  // Somebody asked for something else meanwhile, or left.
  if (run !== runs || !state.session) return;
  const error = results.find(({ reason }) => reason && !ended(reason))?.reason;
  if (error) {
    failures += 1;
    trouble(error);
  } else {
    recovered();
  }
  if (paused) return;
  const slower = Math.min(SLOWEST_POLL_MS, POLL_MS * 2 ** failures);
  timer = setTimeout(poll, Math.max(slower, (error?.retryAfter ?? 0) * 1000));
}

function trouble(error) {
  if (error instanceof TypeError || error instanceof RangeError) console.error(error);
  const text = failures > 0 ? `${error.message}. What is shown may be old; asking again.` : error.message;
  if (at('trouble').hidden) say(text);
  write(at('trouble'), text);
  show(at('trouble'));
  write(at('live'), '');
}

function recovered() {
  if (failures > 0) say('Baton answers again');
  failures = 0;
  show(at('trouble'), false);
  write(at('trouble'), '');
  write(at('live'), paused ? 'Paused' : 'Live');
}

function setPaused(wanted) {
  paused = wanted;
  if (paused) {
    clearTimeout(timer);
    list.asking.abort();
  }
  at('pause').setAttribute('aria-pressed', String(paused));
  write(at('live'), paused ? 'Paused' : 'Live');
}

// --- All of it

startCalls();
startStory();
startLink();

at('sign-in-form').addEventListener('submit', signIn);
at('sign-out').addEventListener('click', signOut);
at('handoff-show').addEventListener('click', showHandoff);
at('hour').open = matchMedia('(min-width: 60rem)').matches;
at('hour').addEventListener('toggle', () => {
  if (state.session) refreshHour().catch(() => {});
});
at('pause').addEventListener('click', () => {
  setPaused(!paused);
  if (!paused) poll();
});
at('account-form').addEventListener('submit', (event) => {
  event.preventDefault();
  at('account').blur();
  const account = at('account').value.trim();
  go({ account: account === state.session.account_id ? '' : account, call: '', connector: '' });
});

document.addEventListener('click', (event) => {
  const button = event.target.closest('.copy');
  if (button) {
    copied(button);
    return;
  }
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  const link = event.target.closest('a[href^="#"]');
  if (!link || !plain) return;
  event.preventDefault();
  const given = new URLSearchParams(link.hash.slice(1));
  if (given.has('call')) go({ call: given.get('call') }, { opened: !story.id });
  else go({ view: given.has('link') ? 'link' : 'calls', call: '' });
});

// Back, forward, and whoever changes the address by hand.
addEventListener('popstate', route);
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && !paused) poll();
});
addEventListener('pageshow', ({ persisted }) => {
  if (persisted) poll();
});

begin();
