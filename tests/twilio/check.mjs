// What the reference document's Twilio Function, and Baton's own, make of Baton's answers. `run` starts
// all and tells where they are:
//
//   BATON_URL, BATON_API_KEY_FILE   the server, and the file with its admin key
//   BATON, SERVER_PID               the program, for `key revoke`, and its process
//   READ_KEY, READ_KEY_ID           the key that stands in the reference's Function
//   FUNCTION_URL                    the reference's Function
//   WAITING_FUNCTION_URL            the same with a key whose reads wait 2 s and whose misses are 200
//   RECIPE_KEY, RECIPE_KEY_ID       the key that Baton's own Function has
//   RECIPE_URL, RUNTIME_LOG         Baton's own Function, and the log of the runtime it runs in
//
// The last line is "N passed, N failed"; the exit code is 1 if any failed.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { run } from './checks.mjs';

const { BATON, BATON_URL, BATON_API_KEY_FILE, READ_KEY, READ_KEY_ID } = process.env;
const { FUNCTION_URL, WAITING_FUNCTION_URL, SERVER_PID } = process.env;
const { RECIPE_KEY, RECIPE_KEY_ID, RECIPE_URL, RUNTIME_LOG } = process.env;
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
const write = (id, data) => writeText(id, JSON.stringify({ data }));

async function writeText(id, body) {
  const written = await send(`${BATON_URL}/v1/handoff_state?id=${id}`, {
    method: 'PUT',
    headers: { ...JSON_TYPE, 'x-api-key': ADMIN_KEY },
    body,
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

function revoke(keyId) {
  execFileSync(BATON, ['key', 'revoke', keyId], { stdio: 'pipe', timeout: 15_000 });
}

// Baton's own Function answers in one shape, whatever happens; this is its body.
async function recipe(answer, status) {
  assert.equal(answer.status, status);
  assert.match(answer.headers.get('content-type'), /^application\/json\b/);
  assert.equal(answer.headers.get('x-baton-recipe'), 'function/1');
  const text = await answer.text();
  const log = readFileSync(RUNTIME_LOG, 'utf8');
  assert.ok(!text.includes(RECIPE_KEY) && !log.includes(RECIPE_KEY), 'the key is told');
  assert.ok(!log.includes(DATA.reason.emoji), 'the handoff is logged');
  return JSON.parse(text);
}

async function assertRecipeFails(answer, status, error) {
  const body = await recipe(answer, status);
  assert.match(body.error, error);
  assert.deepEqual(body, { found: false, error: body.error, data: {} });
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
    revoke(READ_KEY_ID);
    await assertRefuses(WRITTEN, 401, 'INVALID_KEY');
    await assertFails(await send(`${FUNCTION_URL}?call_sid=${WRITTEN}`), 401);
  }],

  ["Baton's own Function called by GET hands the handoff over, and says so", async () => {
    const body = await recipe(await send(`${RECIPE_URL}?call_sid=${WRITTEN}`), 200);
    assert.deepEqual(body, { found: true, id: WRITTEN, data: DATA });
  }],

  ["Baton's own Function takes the call SID under Twilio's name, from a form", async () => {
    const body = new URLSearchParams({ CallSid: WRITTEN, call_sid: '' });
    const answer = await send(RECIPE_URL, { method: 'POST', body });
    assert.deepEqual(await recipe(answer, 200), { found: true, id: WRITTEN, data: DATA });
  }],

  ["Baton's own Function rounds no number, and passes the shared_id on", async () => {
    const data = '{"big":-12345678901234567890,"in":"\\\\\\"12345678901234567890","safe":9007199254740991}';
    await writeText(`${LATE}c`, `{"shared_id":"five9:1","data":${data}}`);
    const body = await recipe(await send(`${RECIPE_URL}?call_sid=${LATE}c`), 200);
    assert.deepEqual(body, {
      found: true,
      id: `${LATE}c`,
      shared_id: 'five9:1',
      data: { ...JSON.parse(data), big: '-12345678901234567890' },
    });
  }],

  ["Baton's own Function waits for a handoff written a second late", async () => {
    const began = Date.now();
    const asked = send(`${RECIPE_URL}?call_sid=${LATE}d`);
    await sleep(1000);
    await write(`${LATE}d`, DATA);
    assert.deepEqual(await recipe(await asked, 200), { found: true, id: `${LATE}d`, data: DATA });
    assert.ok(Date.now() - began < 3000, 'the write woke it; it did not wait to its end');
  }],

  ["Baton's own Function answers a miss with 200, which the flow can split on", async () => {
    const body = await recipe(await send(`${RECIPE_URL}?call_sid=${NEVER_WRITTEN}`), 200);
    assert.deepEqual(body, { found: false, id: NEVER_WRITTEN, data: {} });
  }],

  ["Baton's own Function called without a call SID says which parameter is missing", async () => {
    await assertRecipeFails(await send(RECIPE_URL), 400, /parameter call_sid/);
    await assertRecipeFails(await send(`${RECIPE_URL}?call_sid=`), 400, /parameter call_sid/);
  }],

  // Not encoded, the id would be `a`, and `b` another parameter.
  ["Baton's own Function encodes the id, and passes on why Baton refuses it", async () => {
    const refused = await send(`${RECIPE_URL}?call_sid=a%26b`);
    await assertRecipeFails(refused, 400, /^Baton answered 400: .*position 1\b/);
  }],

  ["Baton's own Function with a revoked key says so, and tells the key to nobody", async () => {
    revoke(RECIPE_KEY_ID);
    await assertRecipeFails(await send(`${RECIPE_URL}?call_sid=${WRITTEN}`), 500, /BATON_API_KEY/);
  }],

  ["Baton's own Function with no Baton there is 502", async () => {
    process.kill(SERVER_PID);
    while (await send(`${BATON_URL}/livez`).then(() => true, () => false)) await sleep(50);
    await assertRecipeFails(await send(`${RECIPE_URL}?call_sid=${WRITTEN}`), 502, /BATON_URL/);
  }],
];

await run(checks);
