// The whole flow of the reference document, as one test: its curl, the link that its add-on makes, a call
// from the first webhook to the last, and its Twilio Function. Twilio's REST API is pretended here, so that
// the server, which knows no account from its settings, asks this programme. `run` starts all and tells
// where it is:
//
//   BATON_URL, BATON_API_KEY_FILE   the server, and the file with its admin key
//   PUBLIC_URL                      the server again, for it is at no other URL than its own
//   AUTH_TOKENS                     the account to link and its Auth Token, which the server is not told
//   TWILIO_API_PORT                 where the server takes Twilio's REST API to be
//   FUNCTION_URL                    the document's Function
//
// The last line is "N passed, N failed"; the exit code is 1 if any failed.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { ACCOUNT, SIGNATURE, TOKENS, sign } from './common.mjs';
import {
  ADMIN_KEY, AGENT_URL, BILLING_WORKFLOW, PUBLIC, WORKFLOW, answered, assertTwiml, newCall, only, patch,
  read, stream, task, twiml, url, webhook, write,
} from './calls.mjs';
import { run } from './checks.mjs';

const { BATON_URL, FUNCTION_URL, TWILIO_API_PORT } = process.env;
const [AUTH_TOKEN] = TOKENS;
const WRONG_TOKEN = AUTH_TOKEN.replace(/.$/, (digit) => (digit === '0' ? '1' : '0'));
const PROJECT = 'PROJECT-1a2b3c4d';
const DAY = 24 * 60 * 60 * 1000;

// What the agent learns of the caller. Not all of it is for the task.
const DATA = {
  name: 'Zoë "Zo" O\'Brien',
  phone: '+447700900124',
  destination: 'billing',
  reason: 'INVOICE',
  summary: 'Invoice 17 is\nwrong: <b>twice</b> the sum & no "VAT". שלום 📞',
  language: 'en-GB',
  verified: true,
  topic: 'invoice',
  order: { number: 'A-17', since: '2026-11-01', sums: [12.5, 0, -3] },
  note: 'not for the task',
};

const send = (where, init) => fetch(where, { ...init, signal: AbortSignal.timeout(15_000) });

// --- Twilio's REST API: one account, with its one number

const ACCOUNT_PATH = `/2010-04-01/Accounts/${ACCOUNT}`;
const numbers = [];
// Each question, and the status it got.
const asked = [];

const RESOURCES = {
  [`${ACCOUNT_PATH}.json`]: (uri) => ({
    sid: ACCOUNT, friendly_name: 'Pretend', status: 'active', type: 'Full', uri,
  }),
  [`${ACCOUNT_PATH}/IncomingPhoneNumbers.json`]: (uri) => ({
    incoming_phone_numbers: numbers,
    page: 0,
    page_size: Number(new URLSearchParams(uri.split('?')[1]).get('PageSize') ?? 50),
    uri,
    first_page_uri: uri,
    next_page_uri: null,
    previous_page_uri: null,
  }),
};

const complaint = (status, code, message) => (
  [status, { code, message, more_info: `https://www.twilio.com/docs/errors/${code}`, status }]);

function twilioAnswers({ method, url: uri, headers }) {
  const basic = Buffer.from(`${ACCOUNT}:${AUTH_TOKEN}`).toString('base64');
  if (headers.authorization !== `Basic ${basic}`) return complaint(401, 20003, 'Authenticate');
  const [path] = uri.split('?');
  const resource = method === 'GET' && Object.hasOwn(RESOURCES, path) && RESOURCES[path];
  return resource ? [200, resource(uri)] : complaint(404, 20404, `The requested resource ${path} was not found`);
}

const twilio = createServer((request, response) => {
  const [status, body] = twilioAnswers(request);
  asked.push(`${request.method} ${request.url} ${status}`);
  response.writeHead(status, { 'content-type': 'application/json;charset=utf-8' });
  response.end(JSON.stringify(body));
});
twilio.listen(TWILIO_API_PORT, '127.0.0.1');
await once(twilio, 'listening');

// --- What the document does

// Its curl, with a host, a key, values in place of its brackets, and the quote that it lacks at its end.
function documentsCurl() {
  const printed = readFileSync(new URL('../cli/reference-connector.txt', import.meta.url), 'utf8').trimEnd();
  const host = BATON_URL.slice('http://'.length);
  const replaced = [
    ['connector-service.us-1.platform.polyai.int', host],
    ["--header 'Content-Type", "--header \"x-api-key: $ADMIN_KEY\" \\\n--header 'Content-Type"],
    ['[friendly name]', 'Front desk'],
    ['[ACCOUNT_ID]', 'default'],
    ['[PROJECT_ID]', PROJECT],
    ['[CLIENT_ENV]', 'sandbox'],
    ['[VARIANT_ID]', 'VARIANT-1'],
  ];
  const script = replaced.reduce((text, [from, to]) => {
    assert.equal(text.split(from).length, 2, `${from} once in ${text}`);
    return text.replace(from, () => to);
  }, `${printed}'`);
  return JSON.parse(execFileSync('bash', ['-c', script], { env: { ...process.env, ADMIN_KEY }, stdio: 'pipe' }));
}

// What the add-on does with the Connector Token.
async function withToken(token, method, target, body) {
  const answer = await send(`${BATON_URL}${target}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  for (const secret of [AUTH_TOKEN, WRONG_TOKEN]) assert.ok(!text.includes(secret), 'a secret is told');
  return { status: answer.status, body: JSON.parse(text) };
}

const link = (token, authToken) => (
  withToken(token, 'POST', '/api/v1/connector/link', { account_sid: ACCOUNT, auth_token: authToken }));

// Refused with nothing said, whoever signed.
async function assertRefused(where, call, token) {
  const { status, body } = await webhook(where, call, { headers: { [SIGNATURE]: sign(where, call, token) } });
  assert.deepEqual([status, body], [403, '']);
}

// Its Function, as somebody at a screen has it asked.
async function assertFunctionReads(call) {
  const answer = await send(`${FUNCTION_URL}?call_sid=${call.CallSid}`);
  assert.deepEqual([answer.status, await answer.json()], [200, { id: call.CallSid, data: DATA }]);
}

async function expiry(call) {
  const { status, headers } = await read(call.CallSid);
  assert.equal(status, 200);
  return Date.parse(headers['x-handoff-expires-at']);
}

// `webhook` sends each webhook twice, and sees that it is answered the same.
async function theWholeOfTheDocument() {
  // Set up connector.
  const { connector_id: id, connector_token: connectorToken, ...made } = documentsCurl();
  assert.match(id, /^conn_/);
  assert.match(connectorToken, /^eyJ/);
  assert.deepEqual(
    [made.account_id, made.project_id, made.client_env, made.variant_id],
    ['default', PROJECT, 'sandbox', 'VARIANT-1']);
  await patch(id, {
    routing: { agent_url: AGENT_URL },
    flex: { workflow_sid: WORKFLOW, expose: ['order'] },
    destinations: { billing: { workflow_sid: BILLING_WORKFLOW, priority: 5 } },
  });

  // Nothing opens before an account is linked, nor by one that Twilio does not confirm.
  const voice = url('voice', id);
  const call = newCall();
  await assertRefused(voice, call, AUTH_TOKEN);
  assert.deepEqual(asked, []);
  const refused = await link(connectorToken, WRONG_TOKEN);
  assert.deepEqual([refused.status, refused.body.error_code], [422, 'LINK_REFUSED']);
  assert.match(refused.body.error_message, /Authenticate \(error 20003\b/);
  for (const token of [WRONG_TOKEN, AUTH_TOKEN]) await assertRefused(voice, call, token);

  // Install Twilio addon, and verify the connection.
  const linked = await link(connectorToken, AUTH_TOKEN);
  assert.equal(linked.status, 200, JSON.stringify(linked.body));
  const { link: { account_sid: account, state }, pending_link: pending } = linked.body;
  assert.deepEqual([account, state, pending], [ACCOUNT, 'verified', null]);
  assert.deepEqual(asked.splice(0), [401, 200].map((status) => `GET ${ACCOUNT_PATH}.json ${status}`));
  numbers.push({
    sid: `PN${'c3'.repeat(16)}`, account_sid: ACCOUNT, phone_number: call.To, voice_url: voice,
    voice_method: 'POST', voice_fallback_url: 'https://handler.twilio.com/twiml/EH0', trunk_sid: null,
    voice_application_sid: '', status_callback: url('status', id),
  });
  const verified = await withToken(connectorToken, 'GET', `/api/v1/connector/${id}/verify`);
  assert.equal(verified.status, 200);
  assert.equal(verified.body.ok, true, JSON.stringify(verified.body));
  const good = verified.body.points.filter(({ ok }) => ok).map(({ point }) => point);
  for (const point of ['token', 'link', 'agent', 'numbers', 'number']) assert.ok(good.includes(point), point);
  assert.match(asked.join(), /^GET [^,]*\/IncomingPhoneNumbers\.json\?[^,]* 200$/);

  // Configure routing: Twilio brings the call, and the agent takes it.
  await assertRefused(voice, call, WRONG_TOKEN);
  const brought = await webhook(voice, call);
  const { parameters, action } = stream(brought);
  assert.equal(only(only(twiml(brought), 'Connect'), 'Stream').attributes.url, AGENT_URL);
  assert.match(parameters.call_token, /^bct_/);
  assert.deepEqual(parameters, {
    handoff_url: `${PUBLIC}/v1/handoff_state?id=${call.CallSid}`,
    call_token: parameters.call_token,
    connector_id: id,
    account_id: 'default',
    project_id: PROJECT,
    client_env: 'sandbox',
    variant_id: 'VARIANT-1',
    asr_lang_code: 'en-GB',
    tts_lang_code: 'en-GB',
    leg: '1',
  });

  // Handle handoffs: the agent writes, and leaves the call, which goes to Flex.
  await write(parameters, DATA, { ttl_seconds: 600 });
  assert.ok(action.startsWith(`${url('handoff', id)}?`), action);
  const enqueued = await webhook(action, answered(call));
  const { text, attributes } = task(enqueued);
  assertTwiml(enqueued, (response) => {
    const enqueue = response.enqueue({
      workflowSid: BILLING_WORKFLOW, action: url('queue', id, '?after=0&leg=1'), method: 'POST',
    });
    enqueue.task({ priority: 5 }, text);
  });
  assert.deepEqual(attributes, {
    type: 'inbound',
    name: DATA.name,
    handoff_found: true,
    handoff_status: 'ready',
    handoff_id: call.CallSid,
    handoff_leg: 1,
    handoff_destination: 'billing',
    handoff_reason: 'INVOICE',
    handoff_language: 'en-GB',
    handoff_verified: true,
    handoff_priority: 0,
    handoff_omitted: '',
    handoff_summary: 'Invoice 17 is wrong: <b>twice</b> the sum & no "VAT". שלום 📞',
    baton: { url: PUBLIC, connector_id: id },
    conversations: { ivr_path: '', ivr_time: 0, content: 'invoice' },
    customers: { phone: DATA.phone },
    handoff: { order: DATA.order },
  });
  await assertFunctionReads(call);

  // The call ends, and its handoff is held for whoever still has the task.
  assert.ok(await expiry(call) < Date.now() + DAY / 2);
  const ended = await webhook(url('status', id), { ...call, CallStatus: 'completed' });
  assert.deepEqual([ended.status, ended.body], [204, '']);
  assert.ok(await expiry(call) > Date.now() + DAY / 2);
  await assertFunctionReads(call);
}

await run([['the whole of the document', theWholeOfTheDocument]]);
// Connections are kept alive.
process.exit();
