// Link Twilio: what the guide's add-on does. The Connector Token and the account's secrets are taken out of their
// fields as they are sent, and kept nowhere. None of this is the session's: the token alone speaks for the connector.

const SECRETS = ['token', 'auth-token', 'key-secret', 'shared-secret'];
const POINTS = {
  token: 'Connector Token',
  link: 'Twilio account',
  public_url: 'Public URL',
  last_request: 'Last request of Twilio’s',
  agent: 'Agent',
  people: 'People who take calls',
  numbers: 'Numbers of the account',
  number: 'Number',
};
const URLS = {
  voice: ['A call comes in', 'at the number, or the widget of a Studio flow'],
  status: ['Call status changes', 'at the number'],
  studio: ['Make HTTP Request', 'in a Studio flow'],
  taskrouter: ['Event callback URL', 'of Flex’s TaskRouter workspace'],
};
const VERDICTS = { true: ['good', 'fine'], false: ['bad', 'to mend'], null: ['warn', 'open'] };

const linking = { asked: 0 };

const byKey = () => document.querySelector('[name=by]:checked').value === 'key';

function showSecretFields() {
  const key = byKey();
  show(at('by-auth'), !key);
  show(at('by-key'), key);
  at('auth-token').required = !key;
  for (const id of ['key-sid', 'key-secret', 'shared-id', 'shared-secret']) at(id).required = key;
}

// What is sent; the secrets are in their fields no more.
function taken() {
  const value = (id) => at(id).value.trim();
  const body = { account_sid: value('account-sid') };
  if (byKey()) {
    Object.assign(body, {
      api_key_sid: value('key-sid'),
      api_key_secret: value('key-secret'),
      shared_keys: [{ id: value('shared-id'), secret: value('shared-secret') }],
    });
  } else {
    body.auth_token = value('auth-token');
  }
  if (value('region')) body.region = value('region');
  const token = value('token');
  for (const id of SECRETS) at(id).value = '';
  return { token, body };
}

// `credentials: omit`: the session's cookie has no part in it.
async function asConnector(token, path, init = {}) {
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new Refused('That is no Connector Token: it has other characters than one has');
  }
  return request(`api/v1/connector/${path}`, {
    credentials: 'omit', ...init, signal: state.leaving.signal,
    headers: { ...init.headers, authorization: `Bearer ${token}` },
  });
}

function linkSaid(text, tone) {
  const said = at('linked');
  said.className = `notice ${tone}`;
  show(said);
  write(said, text);
}

function pointItem({ point, ok, seen, to_do: toDo }) {
  const [tone, verdict] = VERDICTS[String(ok)] ?? VERDICTS.null;
  return el('li', {},
    pill(verdict, tone),
    el('div', {}, el('b', {}, or(POINTS, point)), theirs(seen, 'p'),
      ...(toDo ? [theirs(toDo, 'p', { class: tone })] : [])));
}

function putVerified({ ok, points, urls }) {
  write(at('verified-title'), ok ? 'Verified: nothing to mend' : 'Verified: there is something to mend');
  at('points').replaceChildren(...points.map(pointItem));
  at('urls').replaceChildren(...Object.keys(URLS).filter((name) => urls[name]).map((name) => {
    const [field, atWhich] = URLS[name];
    const copy = copyable(el('button', { type: 'button', class: 'copy' }), urls[name]);
    return el('div', { class: 'member' },
      el('dt', {}, el('b', {}, field), ` ${atWhich}`),
      el('dd', {}, el('code', {}, urls[name]), ' ', copy));
  }));
  show(at('verified'));
}

async function save(event) {
  event.preventDefault();
  linking.asked += 1;
  const { asked } = linking;
  const { token, body } = taken();
  show(at('verified'), false);
  at('save').disabled = true;
  linkSaid('Asking Twilio …', '');
  try {
    const linked = await asConnector(token, 'link', {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
    });
    if (asked !== linking.asked) return;
    const waits = linked.status === 202;
    const name = linked.body.name || linked.body.connector_id;
    linkSaid(waits
      ? `Saved for “${name}”, but Twilio was not reached. It is asked again, for a day; until then nothing is believed.`
      : `“${name}” is linked to ${body.account_sid}. Verifying …`, waits ? 'warn' : 'good');
    const { body: report } = await asConnector(token, `${encodeURIComponent(linked.body.connector_id)}/verify`);
    if (asked !== linking.asked) return;
    if (!waits) linkSaid(`“${name}” is linked to ${body.account_sid}.`, 'good');
    putVerified(report);
  } catch (error) {
    if (!ended(error) && asked === linking.asked) linkSaid(error.message, 'bad');
  } finally {
    if (asked === linking.asked) at('save').disabled = false;
  }
}

function forgetLink() {
  linking.asked += 1;
  at('link-form').reset();
  for (const id of SECRETS) at(id).value = '';
  at('save').disabled = false;
  show(at('linked'), false);
  show(at('verified'), false);
  write(at('linked'), '');
  at('points').replaceChildren();
  at('urls').replaceChildren();
  showSecretFields();
}

function startLink() {
  at('link-form').addEventListener('submit', save);
  for (const radio of document.querySelectorAll('[name=by]')) radio.addEventListener('change', showSecretFields);
  showSecretFields();
}
