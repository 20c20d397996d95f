// What a page in a real browser may ask of Baton, and what not. Chromium enforces what the answers say, so
// everything here is asked by scripts of pages: one of an origin that is in the settings, one of Flex's own,
// and some of origins that are not allowed. Twilio is pretended here, the REST API that confirms the link and
// the one that knows Flex users' tokens. This programme starts Baton itself, for it must know the pages'
// origins. `run` tells it:
//
//   BATON      the program
//   TEMP       an empty directory; `pids` in it names what is to be ended if this programme cannot
//   CHROMIUM   the browser, if it is not /usr/bin/chromium
//
// The last line is "N passed, N failed"; the exit code is 1 if any failed.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import { run } from '../twilio/checks.mjs';

const { BATON, TEMP, CHROMIUM = '/usr/bin/chromium' } = process.env;

// All of it takes a few seconds.
setTimeout(() => {
  console.log('not ok - it takes longer than two minutes');
  process.exit(1);
}, 120_000).unref();
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

const TIMEOUT_MS = 15_000;
const hex = (digits) => randomBytes(digits / 2).toString('hex');
const callSid = () => `CA${hex(32)}`;

const ACCOUNT = `AC${hex(32)}`;
const OTHER_ACCOUNT = `AC${hex(32)}`;
const AUTH_TOKEN = hex(32);
const PROJECT = 'PROJECT-1a2b3c4d';
const WORKER = { identity: 'zoe_40example_2Ecom', worker_sid: `WK${hex(32)}` };
const DATA = { name: 'Zoë O\'Brien', summary: 'Invoice 17 is "wrong" שלום 📞', order: { sums: [12.5, 0, -3] } };

async function listening(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

// --- Twilio: one account, and what is known of each Flex user's token

const known = new Map();
const asked = [];

const part = (bytes) => randomBytes(bytes).toString('base64url');

// A token of Flex's form, of which Twilio then says what `answer` is. It is opaque to everyone else.
function token(answer) {
  const head = Buffer.from('{"alg":"RSA-OAEP","enc":"A256GCM"}').toString('base64url');
  const made = [head, part(256), part(12), part(400), part(16)].join('.');
  known.set(made, answer);
  return made;
}

const from = (seconds) => new Date(Date.now() + seconds * 1000).toISOString();
const user = (rest = {}) => token([200, {
  valid: true, expiration: from(3600), roles: ['agent'], realm_user_id: 'unused', ...WORKER, ...rest,
}]);
const notKnown = [200, { valid: false, code: 20404, message: 'Token is invalid' }];

const RESOURCES = {
  [`GET /2010-04-01/Accounts/${ACCOUNT}.json`]: ({ url: uri }) => (
    [200, { sid: ACCOUNT, friendly_name: 'Pretend', status: 'active', type: 'Full', uri }]),
  [`POST /v1/Accounts/${ACCOUNT}/Tokens/validate`]: (_, body) => {
    const { token: given } = JSON.parse(body);
    asked.push(given);
    return known.get(given) ?? notKnown;
  },
};

function twilioAnswers(request, body) {
  const basic = Buffer.from(`${ACCOUNT}:${AUTH_TOKEN}`).toString('base64');
  if (request.headers.authorization !== `Basic ${basic}`) {
    return [401, { code: 20003, message: 'Authenticate', status: 401 }];
  }
  const name = `${request.method} ${request.url}`;
  if (Object.hasOwn(RESOURCES, name)) return RESOURCES[name](request, body);
  return [404, { code: 20404, message: `The requested resource ${request.url} was not found`, status: 404 }];
}

const twilio = createServer(async (request, response) => {
  try {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const [status, body] = twilioAnswers(request, Buffer.concat(chunks).toString());
    response.writeHead(status, { 'content-type': 'application/json;charset=utf-8' });
    response.end(JSON.stringify(body));
  } catch (error) {
    console.log(error.stack);
    response.destroy();
  }
});
const twilioUrl = `http://127.0.0.1:${await listening(twilio)}`;

// --- The pages: each has one function, which tells what its script learns

function ask(url, init) {
  const request = { ...init, signal: AbortSignal.timeout(15_000) };
  return fetch(url, request).then(async (response) => ({
    status: response.status,
    type: response.type,
    headers: Object.fromEntries(response.headers),
    body: await response.text(),
  })).catch(({ name }) => ({ failed: name }));
}

const HTML = `<!doctype html><meta charset="utf-8"><title>page</title><script>${ask}</script>`;
const pages = {
  '/': HTML,
  // Its origin is opaque, `null` in requests.
  '/framed': '<!doctype html><title>framed</title><iframe sandbox="allow-scripts" src="/"></iframe>',
};

function servesPages({ url }, response) {
  const found = Object.hasOwn(pages, url);
  response.writeHead(found ? 200 : 404, { 'content-type': 'text/html; charset=utf-8' });
  response.end(found ? pages[url] : '');
}

const port = await listening(createServer(servesPages));
const ORIGIN = `http://127.0.0.1:${port}`;
const OTHER_ORIGIN = `http://127.0.0.1:${await listening(createServer(servesPages))}`;
const SAME_BY_NAME = `http://localhost:${port}`;
const FLEX = 'https://flex.twilio.com';

// The browser is told to look for Flex here, and not to mind who says that it is.
execFileSync('openssl', [
  'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=flex.twilio.com',
  '-keyout', `${TEMP}/tls.key`, '-out', `${TEMP}/tls.pem`,
], { stdio: 'pipe' });
const tls = { key: readFileSync(`${TEMP}/tls.key`), cert: readFileSync(`${TEMP}/tls.pem`) };
const flexPort = await listening(createTlsServer(tls, servesPages));

// --- Baton

const baton = spawn(BATON, ['serve', '--listen', '127.0.0.1:0', '--cors-origins', ORIGIN], {
  env: {
    ...process.env,
    BATON_DATA_DIR: `${TEMP}/baton`,
    BATON_DRAIN_SECONDS: '0',
    BATON_TWILIO_API_URL: twilioUrl,
    BATON_TWILIO_IAM_URL: twilioUrl,
  },
  stdio: ['ignore', 'pipe', openSync(`${TEMP}/baton-stderr.log`, 'w')],
});
process.on('exit', () => baton.kill());
// Without it there is nothing to kill, and 'exit' comes next.
baton.on('error', (error) => console.log(error.message));
if (baton.pid) appendFileSync(`${TEMP}/pids`, `${baton.pid}\n`);
const batonEnds = once(baton, 'close').then(() => {
  throw new Error('Baton ended');
});
batonEnds.catch(() => {});

const firstLine = once(createInterface(baton.stdout), 'line');
const [line] = await Promise.race([firstLine, batonEnds, sleep(TIMEOUT_MS, [], { ref: false })]);
const [, SERVER] = /^Baton listens on (http:\/\/127\.0\.0\.1:\d+)$/.exec(line) ?? [];
assert.ok(SERVER, `Baton did not tell where it listens: '${line}'`);
const ADMIN_KEY = readFileSync(`${TEMP}/baton/admin.key`, 'utf8').trim();

// From this programme, to which no browser's rules apply.
async function api(method, target, { headers = {}, body } = {}) {
  const response = await fetch(`${SERVER}${target}`, {
    method,
    headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
}

function okay({ status, body }) {
  assert.ok([200, 201].includes(status), body);
  return JSON.parse(body);
}

// One connector, linked to the account as the add-on does it.
const { connector_id: connectorId, connector_token: connectorToken } = okay(await api('POST', '/api/v1/connector', {
  headers: { 'x-api-key': ADMIN_KEY },
  body: { name: 'Front desk', project_id: PROJECT, client_env: 'live' },
}));
const asConnector = { authorization: `Bearer ${connectorToken}` };
const { link } = okay(await api('POST', '/api/v1/connector/link', {
  headers: asConnector, body: { account_sid: ACCOUNT, auth_token: AUTH_TOKEN },
}));
assert.deepEqual([link.account_sid, link.state], [ACCOUNT, 'verified']);
console.log(`Baton ${SERVER}, its connector ${connectorId}, page ${ORIGIN}`);

const at = (id, rest = '') => `/v1/handoff_state?id=${id}${rest}`;

async function write(id = callSid(), data = DATA, rest = {}) {
  okay(await api('PUT', at(id), { headers: asConnector, body: { data, ...rest } }));
  return id;
}

// What is there, by somebody whom nobody refuses.
async function stored(id) {
  const { status, headers } = await api('GET', at(id), { headers: asConnector });
  return [status, headers['x-handoff-revision']];
}

// --- The browser. It finds nothing but this machine

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    `--host-resolver-rules=MAP flex.twilio.com 127.0.0.1:${flexPort}, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, `
      + 'EXCLUDE localhost',
  ],
});
console.log(`Chromium ${browser.version()}`);
const context = await browser.newContext({ ignoreHTTPSErrors: true });

// A page, with what the browser itself tells of its requests: how many it sent ahead of others (preflights),
// and why it kept answers from the script.
async function open(origin) {
  const page = await context.newPage();
  const session = await context.newCDPSession(page);
  const seen = { ahead: 0, withheld: [] };
  session.on('Network.requestWillBeSent', ({ initiator }) => {
    if (initiator.type === 'preflight') seen.ahead += 1;
  });
  session.on('Network.loadingFailed', ({ corsErrorStatus }) => {
    if (corsErrorStatus) seen.withheld.push(corsErrorStatus.corsError);
  });
  await session.send('Network.enable');
  await page.goto(origin);
  assert.equal(await page.evaluate(() => self.origin), origin);
  return {
    seen,
    fetch: (target, init) => page.evaluate(([url, rest]) => ask(url, rest), [`${SERVER}${target}`, init]),
  };
}

const page = await open(ORIGIN);

const AGENT = user();
const as = (flexUser, account = ACCOUNT) => (
  { authorization: `Bearer ${flexUser}`, 'x-twilio-account-sid': account });
const asAgent = as(AGENT);

// The script fails as if there were no network, and the browser says that it is for want of permission.
async function assertWithheld(where, target, init, why = /./) {
  where.seen.withheld.length = 0;
  assert.deepEqual(await where.fetch(target, init), { failed: 'TypeError' }, `${init?.method ?? 'GET'} ${target}`);
  for (let tries = 0; where.seen.withheld.length === 0 && tries < 50; tries += 1) await sleep(100);
  assert.match(where.seen.withheld.join(' '), why, `${init?.method ?? 'GET'} ${target}`);
}

const EXPOSED_OF_A_READ = ['etag', 'x-handoff-revision', 'x-handoff-written-at', 'x-handoff-expires-at'];
const ID = 'x-polyai-correlation-id';

// --- What a page of an allowed origin may do

// The answer, and the headers that concern the handoff, are those that anybody gets.
async function assertReads(where, target) {
  const there = await where.fetch(target, { headers: asAgent });
  assert.equal(there.status, 200, JSON.stringify(there));
  assert.equal(there.type, 'cors');
  const here = await api('GET', target, { headers: asConnector });
  assert.equal(there.body, here.body);
  for (const name of EXPOSED_OF_A_READ) {
    assert.ok(there.headers[name], `${name} is not exposed`);
    assert.equal(there.headers[name], here.headers[name]);
  }
  assert.ok(there.headers[ID], `${ID} is not exposed`);
  return there;
}

async function readsUnderEverySpelling() {
  const sharedId = `shared-${hex(12)}`;
  const id = await write(callSid(), DATA, { shared_id: sharedId });
  const paths = ['/v1', `/v1/default/${PROJECT}`, `/v3/default/${PROJECT}`, `/default/${PROJECT}`];
  for (const path of paths) {
    const { headers, body } = await assertReads(page, `${path}/handoff_state?id=${id}`);
    assert.deepEqual(JSON.parse(body), { id, shared_id: sharedId, data: DATA });
    assert.equal(headers.etag, `"${headers['x-handoff-revision']}"`);
    assert.ok(Date.parse(headers['x-handoff-written-at']) <= Date.parse(headers['x-handoff-expires-at']));
  }
  const shared = await assertReads(page, `/v1/handoff_state?shared_id=${sharedId}`);
  assert.equal(shared.headers['x-handoff-matched-by'], 'shared_id');
  const head = await page.fetch(at(id), { method: 'HEAD', headers: asAgent });
  assert.deepEqual([head.status, head.body], [200, '']);
  assert.ok(head.headers.etag);
  // The origin is allowed, and not everyone's.
  const { headers } = await api('GET', at(id), { headers: { ...asAgent, origin: ORIGIN } });
  assert.equal(headers['access-control-allow-origin'], ORIGIN);
  assert.match(headers.vary, /\borigin\b/i);
}

// Flex's own origin needs no setting.
async function readsFromFlex() {
  const flex = await open(FLEX);
  const id = await write();
  await assertReads(flex, at(id));
  const receipt = await flex.fetch(`/v1/handoff_state/receipts?id=${id}`, {
    method: 'POST',
    headers: { ...asAgent, 'content-type': 'application/json' },
    body: '{"receipt":"fetched"}',
  });
  assert.equal(okay(receipt).first, true);
}

// No answer is taken from the browser's own memory, which knows nothing of writes.
async function readsWhatIsNew() {
  const id = await write();
  const first = await page.fetch(at(id), { headers: asAgent });
  const ifOther = { cache: 'no-store', headers: { ...asAgent, 'if-none-match': first.headers.etag } };
  const again = await page.fetch(at(id), ifOther);
  assert.deepEqual([again.status, again.headers.etag, again.body], [304, first.headers.etag, '']);
  await write(id, { ...DATA, name: 'Zoe' });
  const other = await page.fetch(at(id), ifOther);
  assert.equal(other.status, 200);
  assert.notEqual(other.headers.etag, first.headers.etag);
  for (const name of ['Zoe', 'Zoé', 'Zoë']) {
    await write(id, { name });
    const { status, body } = await page.fetch(at(id), { headers: asAgent });
    assert.equal(status, 200, body);
    assert.deepEqual(JSON.parse(body).data, { name });
  }
}

async function waits() {
  const id = callSid();
  const waiting = page.fetch(at(id, '&wait=8'), { headers: asAgent });
  await sleep(500);
  await write(id);
  const { status, body } = await waiting;
  assert.equal(status, 200, body);
  assert.deepEqual(JSON.parse(body).data, DATA);
}

// The browser asks ahead because of the headers, and then remembers for a while that it may.
async function asksAheadOnce() {
  const id = await write();
  const before = page.seen.ahead;
  for (let reads = 0; reads < 3; reads += 1) {
    assert.equal((await page.fetch(at(id), { headers: asAgent })).status, 200);
  }
  // What the browser tells of the last request may come after the script's answer.
  await sleep(500);
  assert.equal(page.seen.ahead - before, 1);
}

// --- Refusals: the script learns which

async function assertTold(target, headers, status, code) {
  const answer = await page.fetch(target, { headers });
  assert.equal(answer.status, status, JSON.stringify(answer));
  const { error_code: given, error_id: id, error_message: message } = JSON.parse(answer.body);
  assert.deepEqual([given, id], [code, answer.headers[ID]]);
  return { ...answer, message };
}

async function tellsWhatIsRefused() {
  const id = await write();
  const missing = callSid();
  await assertTold(at(missing), asAgent, 404, 'HANDOFF_NOT_FOUND');
  const miss = await page.fetch(at(missing, '&miss=200'), { headers: asAgent });
  assert.deepEqual([miss.status, miss.headers['x-handoff-miss']], [200, 'HANDOFF_NOT_FOUND']);
  await assertTold('/v1/handoff_state', asAgent, 400, 'MISSING_ID');
  await assertTold(at(id), {}, 401, 'MISSING_CREDENTIALS');
  await assertTold(at(id), as(token(notKnown)), 401, 'INVALID_TOKEN');
  await assertTold(at(id), { authorization: 'Bearer btk_nothing' }, 401, 'INVALID_KEY');
  const unnamed = await assertTold(at(id), { authorization: `Bearer ${AGENT}` }, 401, 'INVALID_TOKEN');
  assert.match(unnamed.message, /X-Twilio-Account-Sid/i);
  await assertTold(at(id), as(user({ expiration: from(-60) })), 401, 'TOKEN_EXPIRED');
  await assertTold(at(id), as(user({ roles: ['wfo.data_auditor'] })), 403, 'ROLE_NOT_ALLOWED');
  await assertTold(at(id), as(AGENT, OTHER_ACCOUNT), 403, 'ACCOUNT_NOT_LINKED');
  const down = await assertTold(at(id), as(token([500, { message: 'Internal' }])), 503, 'IDENTITY_UNAVAILABLE');
  assert.match(down.headers['retry-after'] ?? '', /^\d+$/);
  assert.ok(asked.includes(AGENT));
}

// --- Receipts, and what is told of a handoff

const TASK = `WT${hex(32)}`;

const receipt = (where, id, body) => where.fetch(`/v1/handoff_state/receipts?id=${id}`, {
  method: 'POST', headers: { ...asAgent, 'content-type': 'application/json' }, body: JSON.stringify(body),
});

async function timeline(id) {
  const target = `/v1/handoff_state/timeline?id=${id}`;
  const told = okay(await page.fetch(target, { headers: asAgent }));
  assert.equal(told.id, id);
  return told;
}

async function receiptsAndTimeline() {
  const id = await write();
  await assertReads(page, at(id));
  const first = okay(await receipt(page, id, { receipt: 'rendered', task_sid: TASK }));
  assert.deepEqual([first.id, first.receipt, first.first], [id, 'rendered', true]);
  const again = okay(await receipt(page, id, { receipt: 'rendered', task_sid: TASK }));
  assert.deepEqual([again.first, again.at], [false, first.at]);
  const unknown = await receipt(page, id, { receipt: 'eaten' });
  assert.equal(unknown.status, 400, JSON.stringify(unknown));
  assert.ok(JSON.parse(unknown.body).error_code);

  // Reads are told within a second or so.
  const byAgent = ({ event, door }) => event === 'read' && door === 'flex_user';
  let told = await timeline(id);
  for (let tries = 0; !told.events.some(byAgent) && tries < 50; tries += 1) {
    await sleep(100);
    told = await timeline(id);
  }
  assert.equal(told.state, 'live');
  assert.ok(told.events.some(byAgent), JSON.stringify(told));
  assert.ok(told.events.some(({ event, door }) => event === 'written' && door === 'connector_token'));
  const receipts = told.events.filter(({ event }) => event === 'receipt');
  assert.deepEqual(
    receipts.map((one) => [one.receipt, one.door, one.worker_sid, one.worker, one.task_sid]),
    [['rendered', 'flex_user', WORKER.worker_sid, WORKER.identity, TASK]]);
  assert.ok(!JSON.stringify(told).includes('Invoice'), 'the timeline holds what was written');
}

// --- What no page may do

async function writesNothing() {
  const id = await write();
  const before = await stored(id);
  const headers = { 'content-type': 'application/json' };
  const body = '{"data":{"name":"somebody else"}}';
  // Not even with credentials that anywhere else would write.
  for (const credentials of [asAgent, asConnector]) {
    for (const method of ['PUT', 'PATCH']) {
      await assertWithheld(page, at(id), { method, headers: { ...headers, ...credentials }, body });
    }
    await assertWithheld(page, at(id), { method: 'DELETE', headers: credentials });
    await assertWithheld(page, at(id), { method: 'POST', headers: { ...headers, ...credentials }, body });
  }
  // What is sent without asking ahead has no credentials; the page is told so.
  const bare = await page.fetch(at(id), { method: 'POST', body });
  assert.equal(bare.status, 401);
  assert.deepEqual(await stored(id), before);
}

async function sendsNoOtherCredentials() {
  const id = await write();
  await assertWithheld(page, at(id), { headers: asAgent, credentials: 'include' }, /AllowCredentials/);
  await assertWithheld(page, at(id), { headers: { 'x-api-key': ADMIN_KEY } }, /HeaderDisallowed/);
}

async function reachesNothingElse() {
  for (const target of ['/v1/keys', '/v1/handoffs', '/api/v1/connector', `/api/v1/connector/${connectorId}`]) {
    await assertWithheld(page, target, { headers: asAgent });
  }
  for (const target of ['/livez', '/openapi.yaml', '/metrics']) await assertWithheld(page, target);
}

// All that the first page is answered, the others are refused; not so who is no browser.
async function refusesOtherOrigins() {
  const id = await write();
  await assertReads(page, at(id));
  const requests = [
    [at(id), { headers: asAgent }],
    [at(id), { headers: asConnector }],
    [at(id), {}],
    [at(id), { method: 'HEAD', headers: asAgent }],
    [at(callSid()), { headers: asAgent }],
    [`/v1/default/${PROJECT}/handoff_state?id=${id}`, { headers: asAgent }],
    [`/v1/handoff_state/timeline?id=${id}`, { headers: asAgent }],
    [`/v1/handoff_state/receipts?id=${id}`, {
      method: 'POST',
      headers: { ...asAgent, 'content-type': 'application/json' },
      body: '{"receipt":"rendered"}',
    }],
  ];
  for (const origin of [OTHER_ORIGIN, SAME_BY_NAME]) {
    const other = await open(origin);
    for (const [target, init] of requests) await assertWithheld(other, target, init);
    const plain = await api('GET', at(id), { headers: { ...asAgent, origin } });
    assert.deepEqual(JSON.parse(plain.body).data, DATA);
    assertNothingAllowed(plain);
  }

  const framed = await context.newPage();
  await framed.goto(`${ORIGIN}/framed`);
  const frame = framed.frames().find((one) => one.parentFrame());
  assert.equal(await frame.evaluate(() => self.origin), 'null');
  for (const [target, init] of requests) {
    const answer = await frame.evaluate(([url, rest]) => ask(url, rest), [`${SERVER}${target}`, init]);
    assert.deepEqual(answer, { failed: 'TypeError' }, target);
  }
  const plain = await api('GET', at(id), { headers: { ...asAgent, origin: 'null' } });
  assert.equal(plain.status, 200);
  assertNothingAllowed(plain);

  const { events } = await timeline(id);
  assert.deepEqual(events.filter(({ event }) => event === 'receipt'), []);
}

function assertNothingAllowed({ headers }) {
  assert.deepEqual(Object.keys(headers).filter((name) => name.startsWith('access-control-')), []);
  assert.match(headers.vary ?? '', /\borigin\b/i);
}

await run([
  ['a page reads a handoff under every spelling, with the headers that it needs', readsUnderEverySpelling],
  ['so does a page of Flex', readsFromFlex],
  ['a page reads what is new, and is told when nothing is', readsWhatIsNew],
  ['a page waits for a handoff', waits],
  ['the browser asks ahead once for several reads', asksAheadOnce],
  ['a page is told what is refused, and why', tellsWhatIsRefused],
  ['a page sends receipts, and reads the timeline', receiptsAndTimeline],
  ['a page writes and erases nothing', writesNothing],
  ['a page sends no cookies and no keys', sendsNoOtherCredentials],
  ['a page reaches nothing but handoffs', reachesNothingElse],
  ['pages of other origins get nothing', refusesOtherOrigins],
]);
await browser.close();
baton.kill();
await Promise.race([batonEnds.catch(() => {}), sleep(5_000)]);
// Connections are kept alive.
process.exit();
