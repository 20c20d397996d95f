// What a page in a real browser may ask of Baton, and what not. Chromium enforces what the answers say, so
// everything here is asked by scripts of pages: one of an origin that is in the settings, one of Flex's own,
// and some of origins that are not allowed. Twilio is pretended here, the REST API that confirms the link and
// the one that knows Flex users' tokens. This programme starts Baton itself, for it must know the pages'
// origins.
//
// The last line is "N passed, N failed"; the exit code is 1 if any failed.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { run } from '../twilio/checks.mjs';
import {
  callSid, certificate, endsWithin, from, hex, launch, linkedConnector, listening, okay, pretendTwilio,
  startBaton,
} from './common.mjs';

// All of it takes a few seconds.
endsWithin(2);

const OTHER_ACCOUNT = `AC${hex(32)}`;
const PROJECT = 'PROJECT-1a2b3c4d';
const DATA = { name: 'Zoë O\'Brien', summary: 'Invoice 17 is "wrong" שלום 📞', order: { sums: [12.5, 0, -3] } };

const twilio = await pretendTwilio();
const { account: ACCOUNT, worker: WORKER, token, user, notKnown, asked } = twilio;

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
const flexPort = await listening(createTlsServer(certificate('flex.twilio.com'), servesPages));

// --- Baton

const baton = await startBaton({ args: ['--cors-origins', ORIGIN], env: twilio.env });
const { url: SERVER, adminKey: ADMIN_KEY, api } = baton;
const { id: connectorId, headers: asConnector } = await linkedConnector(baton, twilio, { project_id: PROJECT });
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

// --- The browser

const browser = await launch([], { 'flex.twilio.com': flexPort });
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
await baton.stop();
// Connections are kept alive.
process.exit();
