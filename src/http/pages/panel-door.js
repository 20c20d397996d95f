// --- By what leave the handoff is read: a view link, or the token of the Flex user in the page around this one

const FRESH_MS = 30_000;
const ASK_AGAIN_MS = 2_000;

const IS_TOKEN = /^[\w.~+/=-]+$/;
const IS_ACCOUNT = /^AC[0-9a-f]{32}$/;
const IS_TASK = /^WT[0-9a-f]{32}$/;
const matching = (pattern, value) => (typeof value === 'string' && pattern.test(value) ? value : '');

const framed = window.parent !== window;
const parents = document.querySelector('meta[name=baton-parents]').content.split(' ');

// `caller` is the task's number. `refused` is about the token, `wantedAt` is since when one is waited for.
const door = { link: '', token: '', accountSid: '', tokenAt: 0, refused: false, taskSid: '', caller: '', wantedAt: 0 };
const tokenCame = new Bell();

const linkKept = `baton-view:${subject.id ?? subject.shared_id}`;

function keepLink(token) {
  door.link = token;
  try {
    sessionStorage.setItem(linkKept, token);
  } catch {
    // A frame may be kept from keeping anything.
  }
}

// A link's token stays in the address only until it is read: addresses are shown, copied and remembered.
function takeLink() {
  const [, fresh] = /^#view=(.*)$/.exec(location.hash) ?? [];
  if (fresh !== undefined) {
    history.replaceState(history.state, '', location.pathname + location.search);
    return keepLink(fresh.replace(/[^\w.-]/g, ''));
  }
  try {
    door.link = sessionStorage.getItem(linkKept) ?? '';
  } catch {
    // Nothing was kept.
  }
}

function askParent() {
  if (framed) window.parent.postMessage({ type: 'baton:ask', id: subject.id ?? subject.shared_id }, '*');
}

// Anybody can send messages; only the page around this one, and only of an origin that Baton lets frame it,
// is believed.
function takeToken({ source, origin, data }) {
  if (!framed || source !== window.parent || !parents.includes(origin)) return false;
  if (data?.type !== 'baton:token') return false;
  const token = matching(IS_TOKEN, data.token);
  const accountSid = matching(IS_ACCOUNT, data.account_sid);
  if (!token || !accountSid) return false;
  const taskSid = matching(IS_TASK, data.task_sid);
  const caller = matching(/^.{1,64}$/, data.caller);
  Object.assign(door, { token, accountSid, taskSid, caller, tokenAt: performance.now(), refused: false, wantedAt: 0 });
  tokenCame.ring();
  return true;
}

// What a request is sent with. Flex renews its tokens, so an old one is asked for again; if nothing comes,
// it may still be good.
async function takeLeave(signal) {
  for (let again = false; ; again = true) {
    signal?.throwIfAborted();
    if (door.link) return { by: 'link', headers: { authorization: `Bearer ${door.link}` } };
    const isFresh = performance.now() - door.tokenAt < FRESH_MS;
    if (door.token && !door.refused && (isFresh || again)) {
      const headers = { authorization: `Bearer ${door.token}`, 'x-twilio-account-sid': door.accountSid };
      return { by: 'token', headers };
    }
    door.wantedAt ||= performance.now();
    askParent();
    await tokenCame.wait(ASK_AGAIN_MS);
  }
}
