// Whether Baton and twilio-node accept and refuse the same requests: thousands of signed ones, made by
// chance, and thousands changed in one place. `run` starts the server and tells where it is, see
// `common.mjs`. The exit code is 1 if any verdict differs; the case is printed.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import twilio from 'twilio';
import {
  ACCOUNT, BASES, JSON_TYPE, SIGNATURE, TOKENS, each, formParams, pairsOf, send, times,
} from './common.mjs';
import { CHECK, STUDIO, WRITTEN, changed, isForm, made, queryOf } from './requests.mjs';

const COUNT = Number(process.env.COUNT ?? 2000);

// --- twilio-node's verdict

// The public URLs among which `Host` chooses; all, if it names none of them. 443 is the port of https.
function urls({ host, target }) {
  const named = BASES.filter((base) => base.host === host.toLowerCase().replace(/:443$/, ''));
  return (named.length > 0 ? named : BASES).map((base) => base.url + target);
}

const { validateRequest, validateRequestWithBody } = twilio;

function nodeAccepts(request) {
  const { signatures, method, type, body } = request;
  if (signatures.length !== 1) return false;
  const query = pairsOf(queryOf(request));
  const isOneForm = method === 'POST' && isForm(type);
  const signed = (validate, ...rest) => urls(request).some((url) => (
    TOKENS.some((token) => validate(token, signatures[0], url, ...rest))));
  // twilio-node's middleware goes by the body's hash as soon as `bodySHA256` stands anywhere in the URL.
  // Baton parses the query, and knows a form by its type; one with the hash may have been signed in either
  // way. Without a hash and without a body both go by the URL alone.
  if (method === 'GET' || (body.length === 0 && !query.has('bodySHA256'))) return signed(validateRequest, {});
  const isSignedByHash = (!isOneForm || query.has('bodySHA256')) && signed(validateRequestWithBody, body);
  return isSignedByHash || (isOneForm && signed(validateRequest, formParams(body)));
}

// What Baton asks beyond the signature: a call and an account that are named once, and the account whose
// token it is. On the voice-like route the account must be named.
function isClear(request) {
  const { route, method, type, body } = request;
  const pairs = [...pairsOf(queryOf(request))];
  if (method === 'POST' && isForm(type)) pairs.push(...pairsOf(body));
  else if (body.length > 0) pairs.push(...Object.entries(JSON.parse(body)));
  const given = (wanted) => pairs.filter(([name]) => name === wanted).map(([, value]) => value);
  const accounts = given('AccountSid');
  if (given('CallSid').length > 1 || accounts.length > 1) return false;
  return accounts.length === 0 ? route === STUDIO : accounts[0] === ACCOUNT;
}

// The rules are asked second: a JSON body that was changed may not even be JSON.
const expected = (request) => nodeAccepts(request) && isClear(request);

// --- Baton's verdict

const ANSWERS = {
  // Whatever it says of the handoff, it has let the request in.
  [STUDIO]: ({ status }) => ({ 200: true, 400: true, 401: false })[status],
  [CHECK]: ({ status, body, headers }) => {
    if (status === 403 && body === '') return false;
    return status === 200 && /^(text|application)\/xml\b/.test(headers['content-type']) || undefined;
  },
};

async function batonAccepts({ route, host, method, target, type, body, signatures }) {
  const headers = { host, ...(type && { 'content-type': type }) };
  if (signatures.length > 0) headers[SIGNATURE] = signatures;
  const answer = await send({ method, target, headers, body });
  const verdict = ANSWERS[route](answer);
  // Neither let in nor refused: a fault, and not a verdict.
  return verdict ?? `${answer.status} ${answer.body.slice(0, 300)}`;
}

// --- The two, side by side

const adminKey = readFileSync(process.env.BATON_API_KEY_FILE, 'utf8').trim();
for (const id of WRITTEN) {
  const { status } = await send({
    method: 'PUT',
    target: `/v1/handoff_state?id=${id}`,
    headers: { host: 'localhost', 'x-api-key': adminKey, 'content-type': JSON_TYPE },
    body: '{"data":{"reason":"billing"}}',
  });
  assert.equal(status, 201);
}

const counts = { true: 0, false: 0, differ: 0 };
const byChange = {};

function tell(request, wanted, found) {
  counts.differ += 1;
  if (counts.differ > 20) return;
  console.log(`\ntwilio-node ${wanted}, Baton ${found}: ${request.change ?? 'as signed'}`);
  console.log(JSON.stringify({ ...request, body: String(request.body), urls: urls(request) }, null, 1));
}

const signed = times(COUNT, made);
// Made before any is sent, so that chance does not depend on which answer comes first.
const others = times(COUNT, changed);

let accepted = 0;
await each(signed, async (request) => {
  assert.equal(expected(request), true, `the test signs wrongly: ${JSON.stringify(request)}`);
  const found = await batonAccepts(request);
  if (found === true) accepted += 1;
  else tell(request, true, found);
});
await each(others, async (request) => {
  const wanted = expected(request);
  const found = await batonAccepts(request);
  if (found !== wanted) tell(request, wanted, found);
  else counts[found] += 1;
  const of = byChange[request.change] ??= { accepted: 0, refused: 0 };
  of[wanted ? 'accepted' : 'refused'] += 1;
});

for (const [change, of] of Object.entries(byChange).sort()) {
  console.log(`  ${change}: ${of.accepted} accepted, ${of.refused} refused`);
}
console.log(
  `${COUNT} signed: ${accepted} accepted; ${COUNT} changed: ${counts.true} accepted by both, `
  + `${counts.false} refused by both, ${counts.differ} differ`);
process.exit(counts.differ === 0 ? 0 : 1);
