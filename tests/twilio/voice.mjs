// What Baton answers when Twilio brings it a call: compared, element by element, with what Twilio's SDK
// writes for the same verbs; with texts that break XML and JSON; and the attributes of tasks as a workflow
// filters by them. `run` starts the server and tells where it is, see `common.mjs`; BATON is the program,
// for keys. The last line is "N passed, N failed"; the exit code is 1 if any failed.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { ACCOUNT, SIGNATURE, hex, pairsOf } from './common.mjs';
import {
  ADMIN_KEY, AGENT_URL, BILLING_WORKFLOW, PUBLIC, WORKFLOW, answered, assertTwiml, connector,
  flowSid, newCall, only, patch, read, signed, stream, task, tree, twiml, url, visit, webhook, write,
} from './calls.mjs';
import { run } from './checks.mjs';

const SIP_AGENT = 'sip:billing@agent.example.com;transport=tls';
const NUMBER = '+441632960001';
const FALLBACK = { say: 'Nobody can take your call.', number: NUMBER };

const HOSTILE = [
  '"', "'", '"\'><&', ']]>', '<![CDATA[x]]>', '<!--', '-->', '<?xml?>', '&amp;&#0;&lt;', '</Task></Enqueue>',
  '</Say><Dial>+15005550006</Dial>', '{{From}}', '{% raw %}', '\\', '\\"', '","type":"x', '😀👩🏽‍💻🇬🇧',
  'שלום, "עולם"', '\u202e١٢٣\u202c', 'e\u0301', '日本語', '\u2028\u2029', '\ufeff', '\ufb01', '+44 & co = 5',
];
// What settings take no more of, and JSON does.
const CONTROLS = ['\0', '\x01\x08\x0b\x1f', '\x7f\x80\x9f', '\t\r\n', '\x1b[31m'];
// No control characters, and yet nothing that XML may hold.
const NO_CHARACTERS = 'a\ufffe\uffffb';

const given = (attributes) => (
  Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined && value !== '')));

const queue = (id, leg = 1, after = 0) => url('queue', id, `?after=${after}&leg=${leg}`);

// What the SDK writes for a fallback.
const fallback = ({ say, number } = FALLBACK) => (response) => {
  if (say) response.say(say);
  if (number) response.dial(number);
};

function assertNothing({ status, body }, wanted) {
  assert.deepEqual([status, body], [wanted, '']);
}

// --- The agent by a media stream

// Compares a voice answer with the SDK's, but for the token, which no one can foresee; answers what the
// agent gets.
function assertStream(answer, made, call, {
  leg = 1, after = 0, flow, greeting, language, asr, tts, variant,
} = {}) {
  const opened = stream(answer);
  const token = opened.parameters.call_token;
  assert.match(token, /^bct_[A-Za-z0-9._~-]{100}$/);
  const query = `?after=${after}${flow ? `&flow=${flow}` : ''}&leg=${leg}`;
  const parameters = given({
    handoff_url: `${PUBLIC}/v1/handoff_state?id=${call.CallSid}`,
    call_token: token,
    connector_id: made.connector_id,
    account_id: made.account_id,
    project_id: made.project_id,
    client_env: made.client_env,
    variant_id: variant,
    asr_lang_code: asr,
    tts_lang_code: tts,
    leg: String(leg),
  });
  assertTwiml(answer, (response) => {
    if (greeting) response.say(given({ language }), greeting);
    const connect = response.connect({ action: url('handoff', made.connector_id, query), method: 'POST' });
    const media = connect.stream({
      url: AGENT_URL,
      statusCallback: url('stream', made.connector_id, query),
      statusCallbackMethod: 'POST',
    });
    for (const [name, value] of Object.entries(parameters)) media.parameter({ name, value });
  });
  return opened;
}

// --- The agent by SIP

const OWN_HEADERS = [
  'X-Call-Sid', 'X-Call-Token', 'X-Handoff-Url', 'X-Connector-Id', 'X-Account-Id', 'X-Project-Id',
  'X-Client-Env', 'X-Variant-Id', 'X-Asr-Lang-Code', 'X-Tts-Lang-Code', 'X-Leg',
];

// The SIP address of a voice answer and its headers as `[name, value]`.
function sip(answer) {
  const [uri] = only(only(twiml(answer), 'Dial'), 'Sip').children;
  const [address, query = ''] = uri.split('?');
  const headers = query.split('&').filter(Boolean).map((pair) => {
    const [name, value, ...rest] = pair.split('=');
    assert.ok(rest.length === 0 && /^X-[A-Za-z0-9-]+$/i.test(name), pair);
    assert.match(value, /^(?:[A-Za-z0-9._~-]|%[\dA-F]{2})*$/i);
    return [name, decodeURIComponent(value)];
  });
  assert.ok(query.length <= 1024, `${query.length} characters of headers`);
  return { uri, address, headers };
}

// --- Tasks

// The attributes of a task for a handoff that says nothing.
const attributes = (id, call, rest = {}) => ({
  type: 'inbound',
  name: call.From,
  handoff_found: true,
  handoff_status: 'ready',
  handoff_id: call.CallSid,
  handoff_leg: 1,
  handoff_destination: '',
  handoff_reason: '',
  handoff_language: '',
  handoff_verified: false,
  handoff_priority: 0,
  handoff_omitted: '',
  handoff_summary: '',
  baton: { url: PUBLIC, connector_id: id },
  conversations: { ivr_path: '', ivr_time: 0, content: '' },
  customers: { phone: call.From },
  handoff: {},
  ...rest,
});

const missing = { handoff_found: false, handoff_status: 'missing' };

// Twilio writes these itself, from the call.
const TWILIOS = /^(?:call_sid|account_sid|from|to|caller|called|direction|conference|api_version|call_status)/;

const typesOf = (value) => {
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, typesOf(member)]));
};

// An answer that enqueues, as the SDK writes it; answers the attributes.
function assertEnqueues(answer, id, { workflow = WORKFLOW, leg = 1, after = 0, waitUrl, ...ofTask } = {}) {
  const { text, attributes: found } = task(answer);
  assertTwiml(answer, (response) => {
    const enqueue = response.enqueue(given({
      workflowSid: workflow, action: queue(id, leg, after), method: 'POST', waitUrl,
    }));
    enqueue.task(given(ofTask), text);
  });
  // A renderer may write whatever is not ASCII as \uXXXX, unit by unit.
  const characters = text.length + 5 * (text.match(/[^\0-\x7f]/g)?.length ?? 0);
  assert.ok(characters <= 2600, `${characters} characters: ${text}`);
  for (const name of Object.keys(found)) assert.doesNotMatch(name, TWILIOS);
  const { handoff, conversations, ...flat } = found;
  const { handoff: _, conversations: __, ...wanted } = attributes(id, newCall());
  assert.deepEqual(typesOf(flat), typesOf(wanted));
  assert.equal(typeof handoff, 'object');
  assert.ok(JSON.stringify(handoff).length <= 1200, JSON.stringify(handoff));
  for (const [name, value] of Object.entries(conversations)) {
    assert.equal(typeof value, name === 'ivr_time' ? 'number' : 'string', name);
  }
  assert.ok([...found.handoff_summary].length <= 800 && !/[\r\n]/.test(found.handoff_summary));
  return found;
}

// As much of TaskRouter's expressions as workflows need: comparisons, AND, OR, brackets.
function holds(expression, of) {
  const tokens = expression.match(/"[^"]*"|'[^']*'|[<>=!]+|[()]|-?\d+|[A-Za-z_][\w.]*/g);
  const take = (token) => tokens[0]?.toUpperCase() === token && tokens.shift();
  const value = () => {
    const token = tokens.shift();
    if (/^["']/.test(token)) return token.slice(1, -1);
    if (/^(?:true|false|-?\d+)$/.test(token)) return JSON.parse(token);
    return token.split('.').reduce((within, name) => within?.[name], of);
  };
  const COMPARE = {
    '==': (a, b) => a === b, '!=': (a, b) => a !== b, '>': (a, b) => a > b, '<': (a, b) => a < b,
    '>=': (a, b) => a >= b, '<=': (a, b) => a <= b, CONTAINS: (a, b) => a?.includes(b),
  };
  const one = () => {
    if (take('(')) {
      const inner = any();
      assert.ok(take(')'), expression);
      return inner;
    }
    const left = value();
    const compare = COMPARE[tokens.shift().toUpperCase()];
    return compare(left, value());
  };
  // Both sides are read, whatever the left one is.
  const all = () => {
    let holding = one();
    while (take('AND')) holding = one() && holding;
    return holding;
  };
  const any = () => {
    let holding = all();
    while (take('OR')) holding = all() || holding;
    return holding;
  };
  const holding = any();
  assert.deepEqual(tokens, [], expression);
  return holding;
}

// A call that was with the agent and comes back from it.
async function returned({ made, data, rest, call = newCall(), form = {}, query = '' }) {
  const opened = await visit(made.connector_id, call, query);
  if (data) await write(opened.parameters, data, rest);
  const answer = await webhook(opened.action, answered(call, form));
  return { id: made.connector_id, call, opened, answer };
}

const checks = [
  ['a call goes to the agent by a media stream', async () => {
    const made = await connector();
    const call = newCall();
    const answer = await webhook(url('voice', made.connector_id), call);
    assertStream(answer, made, call);
  }],

  ['by GET too', async () => {
    const made = await connector();
    const call = newCall();
    const answer = await webhook(url('voice', made.connector_id), call, { method: 'GET' });
    assertStream(answer, made, call);
  }],

  ['a greeting is spoken in the language of the connector, where Twilio knows such a code', async () => {
    for (const [tts, language] of [['en-GB', 'en-GB'], ['en', undefined]]) {
      const made = await connector({
        routing: { greeting: 'Hello & welcome' },
        variant_id: 'VARIANT-1',
        extra_info: { telephony: { asr_lang_code: 'de-DE', tts_lang_code: tts } },
      });
      const call = newCall();
      const answer = await webhook(url('voice', made.connector_id), call);
      assertStream(answer, made, call, {
        greeting: 'Hello & welcome', language, asr: 'de-DE', tts, variant: 'VARIANT-1',
      });
    }
  }],

  ['a flow is kept in every URL, and what is none is not', async () => {
    const made = await connector();
    const call = newCall();
    const flow = flowSid();
    const answer = await webhook(url('voice', made.connector_id, `?flow=${flow}`), call);
    assertStream(answer, made, call, { flow });
    for (const other of ['FW12', `${flow}0`, 'https://example.com', `${flow}%26x%3D1`, '']) {
      const another = newCall();
      const visited = await webhook(url('voice', made.connector_id, `?flow=${other}`), another);
      assertStream(visited, made, another);
    }
  }],

  ['a call that comes back to the agent is its second visit, and sees nothing of the first', async () => {
    const made = await connector();
    const call = newCall();
    const first = assertStream(await webhook(url('voice', made.connector_id), call), made, call);
    const after = await write(first.parameters, { reason: 'first' });
    assertEnqueues(await webhook(first.action, answered(call)), made.connector_id);
    const again = await webhook(url('voice', made.connector_id), call);
    const second = assertStream(again, made, call, { leg: 2, after });
    const found = assertEnqueues(await webhook(second.action, answered(call)), made.connector_id, {
      leg: 2, after: new URL(second.action).searchParams.get('after'),
    });
    assert.deepEqual(found, attributes(made.connector_id, call, { ...missing, handoff_leg: 2 }));
  }],

  ['a call goes to the agent by SIP', async () => {
    const secret = "A1!*'();:@&=+$,/?#[]%\"<>\\^`{|}~";
    const made = await connector({
      routing: {
        mode: 'sip', agent_url: null, greeting: 'Hello',
        sip: { uri: SIP_AGENT, headers: { 'X-PolyAi-Auth-Token': secret } },
      },
      extra_info: { telephony: { asr_lang_code: 'en-GB', tts_lang_code: 'en-GB' } },
    });
    const call = newCall();
    const answer = await webhook(url('voice', made.connector_id), call);
    const { uri, address, headers } = sip(answer);
    const query = '?after=0&leg=1';
    assertTwiml(answer, (response) => {
      response.say({ language: 'en-GB' }, 'Hello');
      response.dial({
        answerOnBridge: true,
        action: url('handoff', made.connector_id, query),
        method: 'POST',
        referUrl: url('refer', made.connector_id, query),
        referMethod: 'POST',
      }).sip(uri);
    });
    assert.equal(address, `${SIP_AGENT};secure=true`);
    const [, [, token]] = headers.slice(1);
    assert.match(token, /^bct_/);
    assert.deepEqual(headers, [
      ['X-PolyAi-Auth-Token', secret],
      ['X-Call-Sid', call.CallSid],
      ['X-Call-Token', token],
      ['X-Handoff-Url', `${PUBLIC}/v1/handoff_state?id=${call.CallSid}`],
      ['X-Connector-Id', made.connector_id],
      ['X-Account-Id', 'default'],
      ['X-Project-Id', 'line'],
      ['X-Client-Env', 'live'],
      ['X-Asr-Lang-Code', 'en-GB'],
      ['X-Tts-Lang-Code', 'en-GB'],
      ['X-Leg', '1'],
    ]);
  }],

  ['an address that says how it is secured is left as it is', async () => {
    for (const uri of ['sips:a@agent.example.com', 'sip:a@agent.example.com;secure=false']) {
      const made = await connector({ routing: { mode: 'sip', sip: { uri } } });
      assert.equal(sip(await webhook(url('voice', made.connector_id), newCall())).address, uri);
    }
  }],

  ['of headers that are too many those are left out that do not fit', async () => {
    const headers = { 'X-Long': 'x'.repeat(700) };
    const made = await connector({ routing: { mode: 'sip', sip: { uri: SIP_AGENT, headers } } });
    const names = sip(await webhook(url('voice', made.connector_id), newCall())).headers.map(([name]) => name);
    const wanted = ['X-Long', ...OWN_HEADERS].filter((name) => !/Variant|Lang/.test(name));
    assert.ok(names.length > 2 && names.length < wanted.length, names.join());
    assert.deepEqual(names, wanted.filter((name) => names.includes(name)));
    assert.deepEqual(names.slice(0, 3), ['X-Long', 'X-Call-Sid', 'X-Call-Token']);
  }],

  ['in the guide\'s own form, to the letter', async () => {
    const made = await connector({ routing: { mode: 'compat', agent_url: null } });
    const said = (text) => (
      `<Response>\n  <Say>${text}</Say>\n  <Connect connectorId="${made.connector_id}" />\n</Response>`);
    const { status, body } = await webhook(url('voice', made.connector_id), newCall());
    assert.deepEqual([status, body], [200, said('Connecting your call...')]);
    await patch(made.connector_id, { routing: { greeting: 'Hello <you>' } });
    const greeted = await webhook(url('voice', made.connector_id), newCall());
    assert.deepEqual(only(tree(greeted.body), 'Say').children, ['Hello <you>']);
  }],

  ['without an agent there is the fallback, or Twilio\'s own', async () => {
    for (const routing of [{ agent_url: null }, { mode: 'sip', agent_url: null }]) {
      const made = await connector({ routing, fallback: FALLBACK });
      assertTwiml(await webhook(url('voice', made.connector_id), newCall()), fallback());
      const { connector_id: none } = await connector({ routing });
      assertNothing(await webhook(url('voice', none), newCall()), 502);
    }
    for (const some of [{ say: FALLBACK.say }, { number: NUMBER }]) {
      const made = await connector({ routing: { agent_url: null }, fallback: some });
      assertTwiml(await webhook(url('voice', made.connector_id), newCall()), fallback(some));
    }
  }],

  ['what is not signed is told nothing', async () => {
    const { connector_id: id } = await connector({ fallback: FALLBACK });
    const routes = ['voice', 'handoff', 'refer', 'queue', 'status', 'stream'];
    for (const route of routes) {
      const where = url(route, id, '?leg=1&after=0');
      for (const headers of [{ [SIGNATURE]: '' }, { [SIGNATURE]: 'AAAAAAAAAAAAAAAAAAAAAAAAAAA=' }]) {
        assertNothing(await signed(where, newCall(), { headers }), 403);
      }
      assertNothing(await signed(where, newCall({ AccountSid: `AC${'f'.repeat(32)}` })), 403);
    }
    for (const other of [`conn_${'0'.repeat(20)}`, 'x']) {
      const { status } = await signed(url('voice', other), newCall());
      assert.ok(status >= 400, `${other}: ${status}`);
    }
  }],

  ['what the agent wrote goes to Flex', async () => {
    const made = await connector({
      flex: {
        workflow_sid: WORKFLOW,
        wait_url: 'https://hold.example.com/music?a=1&b=2',
        expose: ['order', 'from', 'call_sid', 'absent'],
        insights: { conversation_attribute_1: 'reason', conversation_attribute_10: 'order' },
      },
    });
    const data = {
      reason: 'BILLING', destination: 'nowhere', language: 'en-GB', verified: true, priority: 5,
      name: 'Ada', phone: '+447700900124', summary: 'Invoice 17 is\nwrong.', ivr_path: 'main/billing',
      ivr_time: 42, topic: 'invoice', order: 'A-17', from: 'x', call_sid: 'CA0', secret: 'not for Flex',
    };
    const { id, call, answer } = await returned({ made, data });
    const found = assertEnqueues(answer, id, {
      waitUrl: 'https://hold.example.com/music?a=1&b=2', priority: 5,
    });
    assert.deepEqual(found, attributes(id, call, {
      name: 'Ada',
      handoff_destination: 'nowhere',
      handoff_reason: 'BILLING',
      handoff_language: 'en-GB',
      handoff_verified: true,
      handoff_priority: 5,
      handoff_summary: 'Invoice 17 is wrong.',
      conversations: {
        ivr_path: 'main/billing', ivr_time: 42, content: 'invoice', conversation_attribute_1: 'BILLING',
        conversation_attribute_10: 'A-17',
      },
      customers: { phone: '+447700900124' },
      handoff: { order: 'A-17', from: 'x', call_sid: 'CA0' },
    }));
  }],

  ['a destination is what the connector says, whatever the agent calls it', async () => {
    const made = await connector({
      destinations: {
        billing: { workflow_sid: BILLING_WORKFLOW, priority: 3, timeout_seconds: 200 },
        night: { number: NUMBER },
        branch: { sip_uri: 'sip:desk@branch.example.com' },
      },
    });
    const id = made.connector_id;
    const billing = await returned({ made, data: { handoff_to: 'billing', priority: 9 } });
    const found = assertEnqueues(billing.answer, id, {
      workflow: BILLING_WORKFLOW, priority: 3, timeout: 200,
    });
    assert.equal(found.handoff_destination, 'billing');
    const night = await returned({ made, data: { destination: 'night' } });
    assertTwiml(night.answer, (response) => {
      response.dial({ action: queue(id), method: 'POST' }, NUMBER);
    });
    const branch = await returned({ made, data: { destination: 'branch' } });
    const uri = `sip:desk@branch.example.com?X-Call-Sid=${branch.call.CallSid}`;
    assertTwiml(branch.answer, (response) => {
      response.dial({ action: queue(id), method: 'POST' }).sip(uri);
    });
    for (const destination of ['+15005550006', 'sip:a@b.example', 'BILLING', '__proto__', 'constructor']) {
      assertEnqueues((await returned({ made, data: { destination } })).answer, id);
    }
  }],

  ['a call that came by SIP is referred', async () => {
    const made = await connector({ destinations: { branch: { sip_uri: 'sip:desk@branch.example.com' } } });
    for (const rest of [{ From: 'sip:ada@pbx.example.com' }, { SipDomain: 'pbx.sip.twilio.com' }]) {
      const call = newCall(rest);
      const { answer } = await returned({ made, call, data: { destination: 'branch' } });
      const uri = `sip:desk@branch.example.com?X-Call-Sid=${call.CallSid}`;
      assertTwiml(answer, (response) => {
        response.refer({ action: queue(made.connector_id), method: 'POST' }).sip(uri);
      });
    }
  }],

  ['a call that needs nobody ends, and so does one whose caller is gone', async () => {
    const made = await connector({ fallback: FALLBACK });
    const hangup = (response) => response.hangup();
    assertTwiml((await returned({ made, data: { contained: true } })).answer, hangup);
    assertTwiml((await returned({ made, data: {}, rest: { status: 'contained' } })).answer, hangup);
    const began = Date.now();
    for (const CallStatus of ['completed', 'busy', 'failed', 'no-answer', 'canceled']) {
      assertTwiml((await returned({ made, form: { CallStatus } })).answer);
    }
    assert.ok(Date.now() - began < 2500, 'nobody waits for a handoff then');
  }],

  ['a handoff that is a second late is waited for', async () => {
    const made = await connector();
    const call = newCall();
    const opened = await visit(made.connector_id, call);
    const [answer] = await Promise.all([
      webhook(opened.action, answered(call)),
      new Promise((done) => setTimeout(done, 1000)).then(() => write(opened.parameters, { reason: 'late' })),
    ]);
    assert.equal(assertEnqueues(answer, made.connector_id).handoff_reason, 'late');
  }],

  ['without a handoff a person takes the call, or it ends, as the connector says', async () => {
    const [enqueues, hangs] = await Promise.all(['enqueue', 'hangup'].map(async (on_missing) => (
      returned({ made: await connector({ routing: { on_missing } }) }))));
    const found = assertEnqueues(enqueues.answer, enqueues.id);
    assert.deepEqual(found, attributes(enqueues.id, enqueues.call, missing));
    assertTwiml(hangs.answer, (response) => response.hangup());
  }],

  ['when the agent failed, a person takes the call in any case', async () => {
    const made = await connector({ routing: { on_missing: 'hangup' } });
    const forms = [
      { SessionStatus: 'failed', ErrorCode: '64101' }, { DialCallStatus: 'busy' },
      { DialCallStatus: 'failed' }, { DialCallStatus: 'no-answer' }, { DialCallStatus: 'canceled' },
    ];
    await Promise.all(forms.map(async (form) => {
      const { answer, id } = await returned({ made, form });
      assert.equal(assertEnqueues(answer, id).handoff_found, false);
    }));
    await Promise.all([['31920', true], ['31921', false]].map(async ([StreamError, isFault]) => {
      const call = newCall();
      const { action, statusCallback } = await visit(made.connector_id, call);
      const about = { AccountSid: ACCOUNT, CallSid: call.CallSid, StreamSid: `MZ${'c'.repeat(32)}` };
      const told = (rest) => webhook(statusCallback, {
        ...about, StreamName: 'a', Timestamp: '2026-11-23T00:00:00.000Z', ...rest,
      });
      assertNothing(await told({ StreamEvent: 'stream-started' }), 204);
      assertNothing(await told({ StreamEvent: 'stream-error', StreamError }), 204);
      const answer = await webhook(action, answered(call));
      if (isFault) assert.equal(assertEnqueues(answer, made.connector_id).handoff_found, false);
      else assertTwiml(answer, (response) => response.hangup());
    }));
  }],

  ['without a workflow there is the fallback, or Twilio\'s own', async () => {
    const data = { reason: 'BILLING' };
    const made = await connector({ flex: {}, fallback: FALLBACK });
    assertTwiml((await returned({ made, data })).answer, fallback());
    assertNothing((await returned({ made: await connector({ flex: {} }), data })).answer, 502);
  }],

  ['a flow gets its call back at once, and what to do with it', async () => {
    const made = await connector({ destinations: { night: { number: NUMBER } } });
    const reason = 'a&b=c"<\'é 😀+%26';
    const cases = [
      [{ destination: 'billing', reason }, {}, 'enqueue'],
      [{ destination: 'night', reason: 'LATE' }, {}, 'dial'],
      [{ contained: true }, {}, 'hangup'],
      [undefined, {}, 'pending'],
      [undefined, { SessionStatus: 'failed' }, 'fallback'],
    ];
    const began = Date.now();
    for (const [data, form, action] of cases) {
      const flow = flowSid();
      const { answer } = await returned({ made, data, form, query: `?flow=${flow}` });
      const [where] = only(twiml(answer), 'Redirect').children;
      assertTwiml(answer, (response) => response.redirect({ method: 'POST' }, where));
      const [path, query] = where.split('?');
      assert.equal(path, `https://webhooks.twilio.com/v1/Accounts/${ACCOUNT}/Flows/${flow}`);
      const { destination = '', reason: told = '', ...rest } = Object.fromEntries(pairsOf(query));
      assert.deepEqual(rest, { FlowEvent: 'return', leg: '1', after: '0', action });
      assert.deepEqual([destination, told], [data?.destination ?? '', data?.reason ?? '']);
    }
    assert.ok(Date.now() - began < 2500, 'the flow waits, not this');
  }],

  ['what ConversationRelay ends with is the handoff', async () => {
    const made = await connector({ flex: { workflow_sid: WORKFLOW, expose: ['order'] } });
    const ended = (HandoffData) => returned({ made, form: { SessionStatus: 'ended', HandoffData } });
    const json = await ended('{"reason":"BILLING","order":17}');
    const found = assertEnqueues(json.answer, json.id);
    assert.deepEqual([found.handoff_reason, found.handoff], ['BILLING', { order: 17 }]);
    for (const line of ['Asks about "invoice" 17 & more', '[1,2]', '{"reason":', '5']) {
      const { answer, id, call } = await ended(line);
      assert.equal(assertEnqueues(answer, id).handoff_summary, line);
      assert.deepEqual((await read(call.CallSid)).body.data, { summary: line });
    }
    const own = await returned({
      made, data: { reason: 'WRITTEN' }, form: { SessionStatus: 'ended', HandoffData: '{"reason":"BILLING"}' },
    });
    assert.equal(assertEnqueues(own.answer, own.id).handoff_reason, 'WRITTEN');
  }],

  ['a REFER of the agent is the handoff', async () => {
    const routing = { mode: 'sip', agent_url: null, sip: { uri: SIP_AGENT } };
    const made = await connector({
      routing, destinations: { billing: { workflow_sid: BILLING_WORKFLOW }, desk: { number: NUMBER } },
    });
    const id = made.connector_id;
    const refer = async (target, data) => {
      const call = newCall();
      const answer = await webhook(url('voice', id), call);
      const { referUrl } = only(twiml(answer), 'Dial').attributes;
      if (data) {
        const headers = Object.fromEntries(sip(answer).headers);
        await write({ handoff_url: headers['X-Handoff-Url'], call_token: headers['X-Call-Token'] }, data);
      }
      return { call, answer: await webhook(referUrl, answered(call, { ReferTransferTarget: target })) };
    };
    const began = Date.now();
    const billing = await refer(
      '<sip:billing@pbx.example.com?X-Reason=late%20bill%20%26%20more&X-Contained=false&X-Customer-ID=42>');
    const found = assertEnqueues(billing.answer, id, { workflow: BILLING_WORKFLOW });
    assert.deepEqual([found.handoff_destination, found.handoff_reason], ['billing', 'late bill & more']);
    const { data } = (await read(billing.call.CallSid)).body;
    assert.deepEqual([data.customer_id, data.reason], ['42', 'late bill & more']);
    assert.match(data.refer_to, /^sip:billing@pbx\.example\.com/);
    const desk = await refer('<sip:someone@pbx.example.com?X-Destination=desk>');
    assertTwiml(desk.answer, (response) => response.dial({ action: queue(id), method: 'POST' }, NUMBER));
    const contained = await refer('<sip:anyone@pbx.example.com?X-Contained=true>');
    assertTwiml(contained.answer, (response) => response.hangup());
    const written = await refer('<sip:desk@pbx.example.com>', { destination: 'billing' });
    assertEnqueues(written.answer, id, { workflow: BILLING_WORKFLOW });
    for (const target of ['<sip:@>', `<sip:a@b?${'X-A=1&'.repeat(300)}>`, '<tel:+15005550006>']) {
      assertEnqueues((await refer(target)).answer, id);
    }
    assert.ok(Date.now() - began < 5000, 'nothing is waited for');
    // What says nothing is not taken for what the agent may still write.
    const unclear = ['', 'x'].map((target) => refer(target));
    for (const { answer } of await Promise.all(unclear)) {
      assert.equal(assertEnqueues(answer, id).handoff_status, 'missing');
    }
  }],

  ['a call that the queue did not take gets the fallback', async () => {
    const { connector_id: id } = await connector({ fallback: FALLBACK });
    const { connector_id: none } = await connector();
    const FAILED = [
      ...['queue-full', 'system-error', 'error'].map((QueueResult) => ({ QueueResult })),
      ...['busy', 'failed', 'no-answer', 'canceled'].map((DialCallStatus) => ({ DialCallStatus })),
      { ReferCallStatus: 'failed' },
    ];
    for (const form of FAILED) {
      assertTwiml(await webhook(queue(id), answered(newCall(), form)), fallback());
      assertNothing(await webhook(queue(none), answered(newCall(), form)), 502);
    }
    const WELL = [
      ...['bridged', 'hangup', 'leave', 'redirected', 'redirected-from-bridged']
        .map((QueueResult) => ({ QueueResult })),
      { DialCallStatus: 'completed' }, { QueueResult: 'system-error', CallStatus: 'completed' },
    ];
    for (const form of WELL) assertTwiml(await webhook(queue(id), answered(newCall(), form)));
  }],

  ['the status of a call is taken, and leads back into a flow', async () => {
    const made = await connector();
    const id = made.connector_id;
    const call = newCall();
    const { parameters } = await visit(id, call);
    await write(parameters, { reason: 'BILLING' });
    const child = newCall({ ParentCallSid: call.CallSid, Direction: 'outbound-dial', CallStatus: 'in-progress' });
    assertNothing(await webhook(url('status', id), child), 204);
    for (const sid of [call.CallSid, child.CallSid]) {
      assert.deepEqual((await read(sid)).body.data, { reason: 'BILLING' });
    }
    for (const method of ['POST', 'GET']) {
      const ended = { ...call, CallStatus: 'completed' };
      assertNothing(await webhook(url('status', id), ended, { method }), 204);
      const flow = flowSid();
      const back = await webhook(url('status', id, `?flow=${flow}`), ended, { method });
      const where = `https://webhooks.twilio.com/v1/Accounts/${ACCOUNT}/Flows/${flow}`;
      assert.deepEqual([back.status, back.headers.location], [302, where]);
    }
    // An agent may finish what it was writing.
    await write(parameters, { reason: 'COMPLAINT' });
  }],

  ['texts that break XML, in what the connector says', async () => {
    for (const line of [...HOSTILE, 'x'.repeat(500)]) {
      const made = await connector({
        name: `${line.slice(0, 80)} ${hex(12)}`, routing: { greeting: line }, fallback: { say: line },
      });
      const id = made.connector_id;
      const call = newCall();
      assertStream(await webhook(url('voice', id), call), made, call, { greeting: line });
      assertTwiml(await webhook(queue(id), answered(newCall(), { QueueResult: 'error' })), fallback({ say: line }));
    }
    const settings = { routing: { greeting: NO_CHARACTERS }, fallback: { say: NO_CHARACTERS } };
    const { connector_id: odd } = await connector(settings);
    const [greeting] = only(twiml(await webhook(url('voice', odd), newCall())), 'Say').children;
    assert.match(greeting, /^a.*b$/);
    twiml(await webhook(queue(odd), answered(newCall(), { QueueResult: 'error' })));
    for (const line of [...CONTROLS, 'x'.repeat(5000)]) {
      await assert.rejects(connector({ routing: { greeting: line } }), JSON.stringify(line));
      await assert.rejects(connector({ fallback: { say: line } }), JSON.stringify(line));
      await assert.rejects(connector({ name: line }), JSON.stringify(line));
    }
  }],

  ['texts that break XML and JSON, in what the agent writes', async () => {
    const made = await connector({
      flex: {
        workflow_sid: WORKFLOW, expose: ['said', 'reason'], insights: { conversation_attribute_1: 'said' },
      },
    });
    for (const line of [...HOSTILE, ...CONTROLS, NO_CHARACTERS]) {
      const { answer, id } = await returned({ made, data: {
        reason: line, destination: line, summary: line, name: line, phone: line, language: line,
        topic: line, ivr_path: line, said: { [line]: [line] },
      } });
      const found = assertEnqueues(answer, id);
      assert.deepEqual(found.handoff, { said: { [line]: [line] }, reason: line });
      // On one line, and else as it was written.
      const flat = line.split(/[\s\p{Cc}]+/u).filter(Boolean).join(' ');
      const { handoff_reason, handoff_summary } = found;
      assert.deepEqual([handoff_reason, handoff_summary].map((text) => text.trim()), [flat, flat]);
    }
  }],

  ['texts of 5 kB: what a workflow filters by stays, and the rest is named', async () => {
    const made = await connector({
      flex: {
        workflow_sid: WORKFLOW, expose: ['said', 'order'], insights: { conversation_attribute_1: 'said' },
      },
      destinations: { billing: { workflow_sid: BILLING_WORKFLOW } },
    });
    for (const piece of ['x', '"', '\\', ']]>', '<', '&', '\0', '\x7f', '日本', '😀', "' = ", '\ufffe']) {
      const long = piece.repeat(Math.ceil(5000 / piece.length));
      const { answer, id, call } = await returned({ made, data: {
        destination: 'billing', reason: long, summary: long, name: long, phone: long, language: long,
        topic: long, ivr_path: long, said: long, order: 17,
      } });
      const found = assertEnqueues(answer, id, { workflow: BILLING_WORKFLOW });
      const { type, handoff_found, handoff_status, handoff_id, handoff_destination, baton } = found;
      assert.deepEqual(
        { type, handoff_found, handoff_status, handoff_id, handoff_destination, baton },
        {
          type: 'inbound', handoff_found: true, handoff_status: 'ready', handoff_id: call.CallSid,
          handoff_destination: 'billing', baton: { url: PUBLIC, connector_id: id },
        });
      assert.match(found.handoff_omitted, /\bdata\.said\b|\bhandoff\b/);
      const again = await returned({ made, data: { destination: long } });
      assertEnqueues(again.answer, id);
    }
  }],

  ['a workflow finds its tasks', async () => {
    const made = await connector();
    const filters = async (data, wanted) => {
      const { answer, id, call } = await returned({ made, data });
      const found = assertEnqueues(answer, id, given({ priority: data?.priority }));
      for (const [expression, holding] of Object.entries(wanted)) {
        assert.equal(holds(expression, { ...found, call_sid: call.CallSid }), holding, expression);
      }
    };
    const EXPRESSION = 'handoff_destination == "billing" AND handoff_verified == true';
    await filters({ destination: 'billing', verified: 'true', priority: 5, topic: 'invoice' }, {
      [EXPRESSION]: true,
      'handoff_priority > 4 AND conversations.content CONTAINS "inv"': true,
      'handoff_status == "missing" OR (handoff_leg == 1 AND handoff_found == true)': true,
      [`baton.connector_id == "${made.connector_id}"`]: true,
    });
    await filters({ destination: 'billing', verified: 'yes' }, { [EXPRESSION]: false });
    await filters({ destination: 'Billing', verified: true }, { [EXPRESSION]: false });
    await filters(undefined, { [EXPRESSION]: false, 'handoff_status == "missing"': true });
  }],

  // From the guide's curl to the person's screen.
  ['the whole of the document', async () => {
    const printed = readFileSync(new URL('../cli/reference-connector.txt', import.meta.url), 'utf8').trimEnd();
    const script = `${printed}'`
      .replace('connector-service.us-1.platform.polyai.int', process.env.BATON_URL.slice('http://'.length))
      .replace("--header 'Content-Type", "--header \"x-api-key: $ADMIN_KEY\" \\\n--header 'Content-Type")
      .replace('[friendly name]', 'Front desk')
      .replace('[ACCOUNT_ID]', 'acme')
      .replace('[PROJECT_ID]', 'PROJECT-1a2b3c4d')
      .replace('[CLIENT_ENV]', 'sandbox')
      .replace('[VARIANT_ID]', 'VARIANT-1');
    const out = execFileSync('bash', ['-c', script], { env: { ...process.env, ADMIN_KEY }, stdio: 'pipe' });
    const made = JSON.parse(out);
    assert.match(made.connector_token, /^eyJ/);
    await patch(made.connector_id, {
      routing: { agent_url: AGENT_URL }, flex: { workflow_sid: WORKFLOW, expose: ['name', 'reason'] },
    });
    const call = newCall();
    const opened = assertStream(await webhook(url('voice', made.connector_id), call), made, call, {
      variant: 'VARIANT-1', asr: 'en-GB', tts: 'en-GB',
    });
    const data = { name: 'Zoë "Zo" O\'Brien', reason: { code: 'billing', since: '2026-11-01' }, verified: true };
    await write(opened.parameters, data);
    const found = assertEnqueues(await webhook(opened.action, answered(call)), made.connector_id);
    const { name, reason } = data;
    assert.deepEqual([found.name, found.handoff_verified, found.handoff], [name, true, { name, reason }]);
    const { key } = JSON.parse(execFileSync(process.env.BATON, [
      'key', 'new', '--account', 'acme', '--project', 'PROJECT-1a2b3c4d', '--scope', 'handoff:read', '--json',
    ]));
    const { status, body } = await read(call.CallSid, { key });
    assert.deepEqual([status, body], [200, { id: call.CallSid, data }]);
  }],
];

await run(checks);
// Connections are kept alive.
process.exit();
