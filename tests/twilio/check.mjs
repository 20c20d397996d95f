// What the reference document's Twilio Function makes of Baton's answers. `run` starts both and tells
// where they are:
//
//   BATON_URL, BATON_API_KEY_FILE   the server, and the file with its admin key
//   BATON                           the program, for `key revoke`
//   READ_KEY, READ_KEY_ID           the key that stands in the Function
//   FUNCTION_URL                    the Function
//   WAITING_FUNCTION_URL            the same with a key whose reads wait 2 s and whose misses are 200
//
// The last line is "N passed, N failed"; the exit code is 1 if any failed.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

const { BATON, BATON_URL, BATON_API_KEY_FILE, READ_KEY, READ_KEY_ID } = process.env;
const { FUNCTION_URL, WAITING_FUNCTION_URL } = process.env;
const ADMIN_KEY = readFileSync(BATON_API_KEY_FILE, 'utf8').trim();
const JSON_TYPE = { 'content-type': 'application/json' };

const WRITTEN = 'CA0123456789abcdef0123456789abcdef';
const NEVER_WRITTEN = 'CAffffffffffffffffffffffffffffffff';
const LATE = 'CA1111111111111111111111111111111';

// Whatever JSON can hold that both ends must read alike; no number that JavaScript would round.
const DATA = {
  name: 'Zoë "Zo" O\'Brien',
  verified: true,
  agent: null,
  empty: { text: '', list: [], object: {} },
  numbers: [0, -1, 42, 3.5, 1e-7, Number.MAX_SAFE_INTEGER],
  reason: {
    summary: 'She said: "it\'s still broken" \\ {twice}\n\tand <b>left</b> & came back',
    emoji: '📞🙂👩🏽‍💻🇬🇧',
    hebrew: 'שלום, "עולם"',
    arabic: 'مرحبا بالعالم ١٢٣',
    mixed: 'order \u202bאבג\u202c #17',
    steps: [{ tried: ['resent the invoice', 'a new card'] }, { next: { team: 'billing' } }],
  },
  'a key with "quotes", 🔑 and / ~': 'kept',
};

const sleep = (millis) => new Promise((done) => setTimeout(done, millis));

// The agent writes what it has, under a call's SID.
async function write(id, data) {
  const written = await send(`${BATON_URL}/v1/handoff_state?id=${id}`, {
    method: 'PUT',
    headers: { ...JSON_TYPE, 'x-api-key': ADMIN_KEY },
    body: JSON.stringify({ data }),
  });
  assert.equal(written.status, 201);
}

const send = (url, init) => fetch(url, { ...init, signal: AbortSignal.timeout(15_000) });

// What Baton answers to the request that the Function makes for this `id`, with the same key.
async function baton(id) {
  const url = `${BATON_URL}/v1/handoff_state?id=${id}`;
  const answer = await send(url, { headers: { 'x-api-key': READ_KEY } });
  return { status: answer.status, body: await answer.json() };
}

async function assertRefuses(id, status, code) {
  const answer = await baton(id);
  assert.equal(answer.status, status);
  assert.equal(answer.body.error_code, code);
  assert.equal(answer.body.success, false);
}

async function assertHandsOver(answer) {
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get('content-type'), /^application\/json\b/);
  assert.deepEqual(await answer.json(), { id: WRITTEN, data: DATA });
}

// axios throws on every status that is not 2xx; the Function gives that on, and Twilio makes it 500.
// The message tells which answer of Baton's it was.
async function assertFails(answer, status) {
  assert.equal(answer.status, 500);
  assert.equal((await answer.json()).message, `Request failed with status code ${status}`);
}

const checks = [
  ['a handoff is written and the Function called by GET hands it over', async () => {
    await write(WRITTEN, DATA);
    await assertHandsOver(await send(`${FUNCTION_URL}?call_sid=${WRITTEN}`));
  }],

  ['the Function called by POST with a form hands it over', async () => {
    const body = new URLSearchParams({ call_sid: WRITTEN });
    await assertHandsOver(await send(FUNCTION_URL, { method: 'POST', body }));
  }],

  ['the Function called by POST with JSON hands it over', async () => {
    const body = JSON.stringify({ call_sid: WRITTEN });
    await assertHandsOver(await send(FUNCTION_URL, { method: 'POST', headers: JSON_TYPE, body }));
  }],

  ['a call that nobody wrote about is 404 at Baton and an error of the Function', async () => {
    await assertRefuses(NEVER_WRITTEN, 404, 'HANDOFF_NOT_FOUND');
    await assertFails(await send(`${FUNCTION_URL}?call_sid=${NEVER_WRITTEN}`), 404);
  }],

  // The race that integrators know: the call is transferred before the agent's context is there.
  ['with a plain key, a handoff written a second late is an error of the Function', async () => {
    const asked = send(`${FUNCTION_URL}?call_sid=${LATE}a`);
    await sleep(1000);
    await write(`${LATE}a`, DATA);
    await assertFails(await asked, 404);
  }],

  ['with a key that waits, a handoff written a second late is handed over', async () => {
    const began = Date.now();
    const asked = send(`${WAITING_FUNCTION_URL}?call_sid=${LATE}b`);
    await sleep(1000);
    await write(`${LATE}b`, DATA);
    const answer = await asked;
    assert.equal(answer.status, 200);
    assert.deepEqual(await answer.json(), { id: `${LATE}b`, data: DATA });
    assert.ok(Date.now() - began < 2000, 'the write woke it; it did not wait to its end');
  }],

  ['with a key that waits, no handoff at all is an answer the flow can split on', async () => {
    const began = Date.now();
    const answer = await send(`${WAITING_FUNCTION_URL}?call_sid=${NEVER_WRITTEN}`);
    assert.equal(answer.status, 200);
    assert.deepEqual(await answer.json(), { found: false, id: NEVER_WRITTEN, data: {} });
    assert.ok(Date.now() - began >= 2000);
  }],

  // Without a call SID the Function asks for the handoff of "undefined".
  ['no call SID is 400 at Baton and an error of the Function', async () => {
    await assertRefuses('undefined', 400, 'INVALID_ID');
    await assertFails(await send(FUNCTION_URL), 400);
  }],

  // Last, for the Function is of no use afterwards.
  ['a revoked key is 401 at Baton and an error of the Function', async () => {
    execFileSync(BATON, ['key', 'revoke', READ_KEY_ID], { stdio: 'pipe', timeout: 15_000 });
    await assertRefuses(WRITTEN, 401, 'INVALID_KEY');
    await assertFails(await send(`${FUNCTION_URL}?call_sid=${WRITTEN}`), 401);
  }],
];

let failed = 0;
for (const [name, check] of checks) {
  try {
    await check();
    console.log(`ok - ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`not ok - ${name}\n${error.stack}`);
  }
}
console.log(`${checks.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
