// The answer for Studio as a flow uses it: fetched by signed requests, parsed, and put into Send to Flex
// by the template language. Studio's own renderer cannot be had; liquidjs is the nearest, with the one
// filter added that it lacks. `run` starts the server and tells where it is, see `common.mjs`, and
// READ_KEY, a key that may read. The last line is "N passed, N failed"; the exit code is 1 if any failed.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Liquid } from 'liquidjs';
import {
  ACCOUNT, BASES, FORM, JSON_TYPE, SIGNATURE, below, bodyHash, callSid, chance, each, formParams, pick,
  send, sign, text, times,
} from './common.mjs';
import { run } from './checks.mjs';

const { READ_KEY, BATON_API_KEY_FILE } = process.env;
const ADMIN_KEY = readFileSync(BATON_API_KEY_FILE, 'utf8').trim();
const ROUTE = '/twilio/studio/handoff';
const [{ host, url: PUBLIC }] = BASES;

// A flow splits on these by name, so each is always there, of one type, and never null.
const ANSWER = {
  found: 'boolean',
  ...types('string', 'status action id shared_id connector_id client_env revision leg destination reason '
    + 'priority language verified summary written_at error flex_omitted'),
  ...types('object', 'flex data'),
};
const FLEX = {
  ...types('string', 'type name handoff_status handoff_id handoff_destination handoff_reason '
    + 'handoff_language handoff_omitted handoff_summary'),
  ...types('boolean', 'handoff_found handoff_verified'),
  ...types('number', 'handoff_leg handoff_priority'),
  baton: types('string', 'url connector_id'),
  conversations: { ...types('string', 'ivr_path content'), ...types('number', 'ivr_time') },
  customers: types('string', 'phone'),
};
const STATUSES = ['ready', 'contained', 'failed', 'missing', 'expired', 'error'];
const ACTIONS = ['enqueue', 'dial', 'hangup', 'fallback'];

function types(type, names) {
  return Object.fromEntries(names.split(' ').map((name) => [name, type]));
}

function typesOf(value, wanted) {
  if (wanted === undefined || typeof wanted === 'string') return value === null ? 'null' : typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, of]) => [name, typesOf(of, wanted[name])]));
}

// --- Send to Flex

const engine = new Liquid();
engine.registerFilter('to_json', (value) => JSON.stringify(value));
const ATTRIBUTES = engine.parse('{{widgets.get_handoff.parsed.flex | to_json}}');

// Send to Flex takes 1024 characters. A renderer may escape whatever is not ASCII, unit by unit, and what
// is special in HTML.
function renderedCharacters(line) {
  return line.length + 5 * (line.match(/[^\x20-\x7e]|[<>&'=]/g)?.length ?? 0);
}

function assertFlexTakes(answer) {
  const rendered = engine.renderSync(ATTRIBUTES, { widgets: { get_handoff: { parsed: answer } } });
  const attributes = JSON.parse(rendered);
  assert.deepEqual(attributes, answer.flex);
  assert.deepEqual(typesOf(attributes, FLEX), FLEX);
  const characters = renderedCharacters(rendered);
  assert.ok(characters <= 1024, `${characters} characters: ${rendered}`);
}

// --- Asking

async function write(id, body) {
  const { status, body: answer } = await send({
    method: 'PUT',
    target: `/v1/handoff_state?id=${id}`,
    headers: { host, 'x-api-key': ADMIN_KEY, 'content-type': JSON_TYPE },
    body,
  });
  assert.equal(status, 201, answer);
}

function signedGet(query) {
  const target = `${ROUTE}?${query}`;
  return send({ method: 'GET', target, headers: { host, [SIGNATURE]: sign(PUBLIC + target) } });
}

// What every answer must be, whatever was written.
function understood({ status, headers, body }) {
  assert.equal(status, 200, body);
  // With a charset behind it, Studio is said not to parse it.
  assert.equal(headers['content-type'], 'application/json');
  assert.ok(Buffer.byteLength(body) <= 64_000, `${Buffer.byteLength(body)} bytes`);
  const answer = JSON.parse(body);
  assert.deepEqual(typesOf(answer), typesOf({}));
  for (const [name, value] of Object.entries(answer)) assert.equal(typesOf(value), ANSWER[name], name);
  assert.deepEqual(Object.keys(answer).sort(), Object.keys(ANSWER).sort());
  assert.ok(STATUSES.includes(answer.status), answer.status);
  assert.ok(ACTIONS.includes(answer.action), answer.action);
  assert.ok(['true', 'false', 'unknown'].includes(answer.verified), answer.verified);
  // A code point each.
  assert.ok([...answer.summary].length <= 300 && !/[\r\n]/.test(answer.summary), answer.summary);
  assert.equal(answer.flex.handoff_found, answer.found);
  assert.equal(answer.flex.handoff_status, answer.status);
  assert.equal(answer.flex.handoff_verified, answer.verified === 'true');
  assert.equal(String(answer.flex.handoff_priority), answer.priority);
  assert.equal(answer.flex.handoff_id, answer.id);
  assert.equal(answer.flex.baton.url, PUBLIC);
  assertFlexTakes(answer);
  return answer;
}

// Integers that JavaScript would round, as strings of the same digits.
const exact = (json) => JSON.parse(json.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) => (
  /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token)));

// Writes `data`, JSON as a text, and answers what Studio is told.
async function told(data, rest = {}) {
  const id = callSid();
  const others = JSON.stringify(rest).slice(1, -1);
  await write(id, `{"data":${data}${others && `,${others}`}}`);
  const answer = understood(await signedGet(`id=${id}&AccountSid=${ACCOUNT}`));
  assert.equal(answer.found, true);
  assert.equal(answer.id, id);
  const wanted = exact(data);
  const names = Object.keys(answer.data);
  assert.deepEqual(answer.data, Object.fromEntries(names.map((name) => [name, wanted[name]])));
  const left = Object.keys(wanted).filter((name) => !Object.hasOwn(answer.data, name));
  // Only what would not fit is left out, and not in silence.
  if (left.length > 0) assert.match(answer.flex_omitted, /\bdata\./);
  if (Buffer.byteLength(data) < 50_000) assert.deepEqual(left, []);
  return answer;
}

const tells = (data, rest) => told(JSON.stringify(data), rest);

// --- Handoffs made by chance

const NAMES = [
  'reason', 'handoff_reason', 'destination', 'handoff_to', 'summary', 'handoff_summary', 'name', 'phone',
  'handoff_reason_summary', 'language', 'verified', 'successfully_identified', 'priority', 'content',
  'topic', 'intent', 'ivr_path', 'ivr_time', 'contained', 'customer_name', 'customer_phone',
];
const SCALARS = [
  'null', 'true', 'false', '"true"', '"false"', '""', '0', '-0', '5', '-1', '"5"', '1e9', '1.10', '1e-7',
  '4294967296', '"2147483648"', '9007199254740991', '-9007199254740993', '123456789012345678901234567890',
];

function anyJson(depth) {
  if (chance(0.4)) return JSON.stringify(text(pick([3, 30, 400])));
  if (depth === 0 || chance(0.6)) return pick(SCALARS);
  if (chance(0.5)) return `[${times(below(4), () => anyJson(depth - 1)).join(',')}]`;
  return anyObject(times(below(4), () => text(3)), depth - 1);
}

function anyObject(names, depth) {
  const members = [...new Set(names)].map((name) => `${JSON.stringify(name)}:${anyJson(depth)}`);
  return `{${members.join(pick([',', ' ,\n']))}}`;
}

// --- The checks

const checks = [
  ['a handoff as agents write it', async () => {
    const data = {
      reason: 'billing', destination: 'queue-7', language: 'en-GB', verified: true, priority: 5,
      name: 'Ada', summary: 'Invoice 17 is\nwrong.\r\n\tShe has paid.', tried: ['resent', { at: 1 }],
    };
    const answer = await tells(data, { shared_id: 'five9:1' });
    const { status, action, reason, destination, language, verified, priority, summary } = answer;
    assert.deepEqual(
      { status, action, reason, destination, language, verified, priority, summary },
      {
        status: 'ready', action: 'enqueue', reason: 'billing', destination: 'queue-7', language: 'en-GB',
        verified: 'true', priority: '5', summary: 'Invoice 17 is wrong. She has paid.',
      });
    assert.equal(answer.shared_id, 'five9:1');
    assert.equal(answer.error, '');
    assert.match(answer.revision, /^\d+$/);
    assert.match(answer.written_at, /^\d{4}-\d\d-\d\dT/);
    const { flex } = answer;
    assert.deepEqual(
      [flex.type, flex.name, flex.handoff_reason, flex.handoff_destination, flex.handoff_summary],
      ['inbound', 'Ada', 'billing', 'queue-7', 'Invoice 17 is wrong. She has paid.']);
  }],

  ['a call that needs no human hangs up', async () => {
    for (const body of ['{"data":{"contained":true}}', '{"data":{},"status":"contained"}']) {
      const id = callSid();
      await write(id, body);
      const { status, action } = understood(await signedGet(`id=${id}`));
      assert.deepEqual([status, action], ['contained', 'hangup']);
    }
  }],

  ['nobody has written: 200, the flow falls back, and flex is whole', async () => {
    const id = callSid();
    const answer = understood(await signedGet(`id=${id}`));
    const { found, status, action, data, flex } = answer;
    assert.deepEqual([found, status, action, data], [false, 'missing', 'fallback', {}]);
    assert.deepEqual([answer.id, flex.handoff_id, flex.handoff_status], [id, id, 'missing']);
    assert.notEqual(answer.error, '');
  }],

  ['texts that break templates', async () => {
    const hostile = [
      '"', '\\', '\\"', "'", '"}', '","type":"x', '\n', '\r\n', '\0\x01\x1f\x7f', '\u2028\u2029', '\ufeff',
      '</script><script>alert(1)</script>', '<!--', '&lt;&amp;', '{{flow.sid}}', '{% raw %}',
      '{{ "a" | to_json }}', '😀👩🏽‍💻🇬🇧', 'שלום, "עולם"', '\u202e١٢٣\u202c', 'e\u0301',
      '日本語'.repeat(200), '='.repeat(400), 'x'.repeat(400),
    ];
    for (const line of hostile) {
      await tells({
        reason: line, summary: line, name: line, destination: line, language: line, phone: line,
        content: line, ivr_path: line, [line]: { [line]: [line] },
      });
    }
  }],

  ['a long summary in Japanese is cut, and said to be', async () => {
    const long = 'お客様は請求書について問い合わせています。'.repeat(40);
    const { summary, flex } = await tells({ reason: 'billing', summary: long });
    assert.ok([...summary].length > 250);
    assert.match(flex.handoff_omitted, /summary/);
    assert.equal(flex.handoff_reason, 'billing');
  }],

  ['an emoji that was cut in half does no harm', async () => {
    const id = callSid();
    const body = '{"data":{"summary":"so \\ud83d","reason":"billing"}}';
    const headers = { host, 'x-api-key': ADMIN_KEY, 'content-type': JSON_TYPE };
    const { status } = await send({ method: 'PUT', target: `/v1/handoff_state?id=${id}`, headers, body });
    if (status === 201) assert.equal(understood(await signedGet(`id=${id}`)).reason, 'billing');
    else assert.equal(status, 400);
  }],

  ['100 kB in one member, and in many', async () => {
    const small = { reason: 'billing', summary: 'short', kept: [1, 2, 3] };
    for (const large of [
      { transcript: 'x'.repeat(100_000) },
      { transcript: '日本'.repeat(17_000) },
      { transcript: '"\n'.repeat(25_000) },
      { turns: times(2000, (_, turn) => ({ turn, said: 'x'.repeat(40) })) },
      Object.fromEntries(times(3000, (_, turn) => [`turn "${turn}" ünd`, 'x'.repeat(20)])),
    ]) {
      const answer = await tells({ ...large, ...small });
      assert.equal(answer.reason, 'billing');
      assert.deepEqual(answer.data.kept, small.kept);
    }
  }],

  ['nested deeply', () => told(`{"deep":${'['.repeat(30)}1${']'.repeat(30)}}`)],

  ['numbers beyond 2^53 are strings of the same digits, those within stay numbers', async () => {
    const { data } = await told('{"a":9007199254740993,"b":[-123456789012345678901234567890],'
      + '"in":9007199254740991,"f":1.10,"e":1e3,"s":"9007199254740993","9007199254740993":0}');
    assert.equal(data.a, '9007199254740993');
    assert.deepEqual(data.b, ['-123456789012345678901234567890']);
    assert.deepEqual([data.in, data.f, data.e, data.s], [9007199254740991, 1.1, 1000, '9007199254740993']);
  }],

  ['members of other types than expected', async () => {
    const seven = await tells({ reason: 7, summary: { a: 1 }, destination: ['x'], language: null });
    assert.deepEqual([seven.reason, seven.summary, seven.destination, seven.language], ['7', '', '', '']);
    for (const [verified, wanted] of [
      [true, 'true'], ['true', 'true'], [false, 'false'], ['false', 'false'],
      ['no', 'unknown'], [null, 'unknown'], [{}, 'unknown'], [1, 'unknown'],
    ]) {
      assert.equal((await tells({ verified })).verified, wanted, JSON.stringify(verified));
    }
    for (const [priority, wanted] of [
      [5, '5'], ['5', '5'], [-1, '0'], ['high', '0'], [1e9, '1000000000'], [1e30, '0'], [null, '0'],
    ]) {
      assert.equal((await tells({ priority })).priority, wanted, JSON.stringify(priority));
    }
    assert.equal((await told('{"priority":1e9,"ivr_time":-1.5}')).flex.conversations.ivr_time, 0);
  }],

  ['names that are something in JavaScript', async () => {
    const names = ['__proto__', 'constructor', 'toString', 'flex', 'found', '', '0', 'size', 'first', '$where'];
    await told(anyObject(names, 2));
  }],

  ['300 handoffs made by chance', async () => {
    await each(times(300, () => anyObject([
      ...NAMES.filter(() => chance(0.5)), ...times(below(8), () => text(3)),
    ], 3)), async (data) => {
      await told(data).catch((error) => {
        throw new Error(`${error.message}\n${data}`, { cause: error });
      });
    });
  }],

  ['a form with nothing but the call SID', async () => {
    const id = callSid();
    await write(id, '{"data":{"reason":"billing"}}');
    const body = `CallSid=${id}`;
    const signature = sign(PUBLIC + ROUTE, formParams(body));
    const headers = { host, 'content-type': `${FORM};charset=utf-8`, [SIGNATURE]: signature };
    const answer = understood(await send({ method: 'POST', target: ROUTE, headers, body }));
    assert.deepEqual([answer.id, answer.reason], [id, 'billing']);
  }],

  ['a JSON body, bound to the URL by its hash', async () => {
    const id = callSid();
    await write(id, '{"data":{"reason":"billing"}}');
    for (const asked of [{ id }, { CallSid: id, AccountSid: ACCOUNT }]) {
      const body = JSON.stringify(asked, null, 2);
      const target = `${ROUTE}?bodySHA256=${bodyHash(body)}`;
      const signature = sign(PUBLIC + target);
      const headers = { host, 'content-type': `${JSON_TYPE};charset=utf-8`, [SIGNATURE]: signature };
      const answer = understood(await send({ method: 'POST', target, headers, body }));
      assert.deepEqual([answer.id, answer.reason], [id, 'billing']);
      const other = await send({ method: 'POST', target, headers, body: `${body} ` });
      assert.equal(other.status, 401);
    }
  }],

  // Studio takes a user and a password in the URL, and sends them once it was asked for them.
  ['Basic: asked for, taken from a key that may only read, refused from any other', async () => {
    const id = callSid();
    await write(id, '{"data":{"reason":"billing"}}');
    const target = `${ROUTE}?id=${id}`;
    const asked = (headers) => send({ method: 'GET', target, headers: { host, ...headers } });
    const basic = (key) => `Basic ${Buffer.from(`baton:${key}`).toString('base64')}`;
    const refused = await asked({});
    assert.equal(refused.status, 401);
    assert.match(refused.headers['www-authenticate'], /^Basic /);
    assert.equal(understood(await asked({ authorization: basic(READ_KEY) })).reason, 'billing');
    assert.equal((await asked({ authorization: basic(ADMIN_KEY) })).status, 403);
    assert.equal((await asked({ authorization: basic(`${READ_KEY}x`) })).status, 401);
  }],
];

await run(checks);
// Connections are kept alive.
process.exit();
