// The Studio flow and the TwiML Bins, as `baton recipe` writes them, executed. Studio itself cannot be had:
// what is here knows the widgets of this flow, renders with liquidjs, and makes the requests that Twilio
// would, signed. `run` starts the server and tells where it is, see `common.mjs`; BATON is the program. The
// last line is "N passed, N failed"; the exit code is 1 if any failed.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Liquid } from 'liquidjs';
import { ACCOUNT, hex, pairsOf } from './common.mjs';
import {
  PUBLIC, WORKFLOW, answered, built, connector, flowSid, newCall, only, port, signed, stream, tree,
  twiml, url, webhook, write,
} from './calls.mjs';
import { run } from './checks.mjs';

const FLOW = flowSid();
const CHANNEL = `TC${'d4'.repeat(16)}`;
const NUMBER = '+441632960001';
const SECOND = 1000;

const sleep = (millis) => new Promise((done) => setTimeout(done, millis));

// --- What the program writes

const folder = mkdtempSync(join(tmpdir(), 'baton-flow-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

function recipe(name, file, ...flags) {
  const dir = join(folder, hex(8));
  execFileSync(process.env.BATON, ['recipe', name, dir, ...flags], { stdio: 'pipe' });
  const text = readFileSync(join(dir, file), 'utf8');
  assert.doesNotMatch(text, /_HERE\b/, 'something is still to be filled in');
  return text;
}

const at = (id) => ['--connector', id, '--url', PUBLIC];

const flowOf = (id) => JSON.parse(recipe(
  'studio-flow', 'studio-flow.json', ...at(id), '--workflow', WORKFLOW, '--channel', CHANNEL,
  '--fallback-number', NUMBER));

// --- What Studio takes, as Twilio's own schemas have it: the properties of each widget, `!` for those that
// --- must be there, and its events

const WIDGETS = {
  trigger: {
    properties: {},
    events: 'incomingMessage incomingCall incomingConversationMessage incomingRequest incomingParent',
  },
  'add-twiml-redirect': {
    properties: { url: 'string!', method: 'string', timeout: 'string' }, events: 'return timeout fail',
  },
  'make-http-request': {
    properties: {
      method: 'string!', url: 'string!', content_type: 'string!', parameters: 'pairs', body: 'string',
      add_twilio_auth: 'boolean',
    },
    events: 'success failed',
  },
  'split-based-on': { properties: { input: 'string!' }, events: 'noMatch match' },
  'set-variables': { properties: { variables: 'pairs!' }, events: 'next' },
  'send-to-flex': {
    properties: {
      workflow: 'string!', channel: 'string!', attributes: 'string', priority: 'string', timeout: 'string',
      waitUrl: 'string', waitUrlMethod: 'string',
    },
    events: 'callComplete failedToEnqueue callFailure',
  },
  'say-play': {
    properties: { say: 'string', play: 'string', voice: 'string', language: 'string', loop: 'number' },
    events: 'audioComplete',
  },
  'connect-call-to': {
    properties: {
      noun: 'string!', caller_id: 'string!', to: 'string', timeout: 'number', record: 'boolean',
      time_limit: 'string',
    },
    events: 'callCompleted hangup',
  },
};
const CONDITIONS = ['equal_to', 'not_equal_to', 'matches_any_of', 'contains', 'is_blank', 'is_not_blank'];

const isText = (value) => typeof value === 'string' && value !== '';

function assertProperty(value, type, where) {
  if (type === 'number') return assert.ok(Number.isInteger(value), where);
  if (type !== 'pairs') return assert.equal(typeof value, type, where);
  assert.ok(Array.isArray(value), where);
  return value.forEach((pair) => {
    assert.deepEqual(Object.keys(pair).sort(), ['key', 'value'], where);
    assert.ok(isText(pair.key) && isText(pair.value), where);
  });
}

function assertTransition({ event, next, conditions, ...rest }, names, where) {
  assert.deepEqual(rest, {}, where);
  assert.ok(next === undefined || names.includes(next), `${where} leads to ${next}`);
  assert.equal(event === 'match', conditions !== undefined, where);
  for (const { friendly_name, arguments: of, type, value, ...more } of conditions ?? []) {
    assert.ok(isText(friendly_name) && isText(value) && CONDITIONS.includes(type), where);
    assert.ok(of.length === 1 && of.every(isText), where);
    assert.deepEqual(more, {}, where);
  }
}

function assertState({ name, type, transitions, properties, ...rest }, names) {
  assert.deepEqual(rest, {}, name);
  const widget = WIDGETS[type];
  assert.ok(widget && /^\w+$/.test(name), `${name}: ${type}`);
  const { offset, ...given } = properties;
  assert.ok(Number.isInteger(offset.x) && Number.isInteger(offset.y), name);
  for (const [key, kind] of Object.entries(widget.properties)) {
    if (key in given) assertProperty(given[key], kind.replace('!', ''), `${name}.${key}`);
    else assert.ok(!kind.endsWith('!'), `${name} has no ${key}`);
  }
  for (const key of Object.keys(given)) assert.ok(key in widget.properties, `${name}.${key}`);
  const events = transitions.map(({ event }) => event);
  assert.deepEqual([...new Set(events)].sort(), widget.events.split(' ').sort(), name);
  for (const transition of transitions) assertTransition(transition, names, name);
}

function assertStudioTakes({ description, initial_state, flags, states, ...rest }) {
  assert.deepEqual(rest, {});
  assert.ok(isText(description));
  assert.deepEqual(flags, { allow_concurrent_calls: true });
  const names = states.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length, 'no two states have one name');
  for (const state of states) assertState(state, names);
  const reached = new Set([initial_state]);
  for (const name of reached) {
    const { transitions } = states.find((state) => state.name === name);
    for (const { next } of transitions) if (next) reached.add(next);
  }
  assert.deepEqual([...reached].sort(), [...names].sort(), 'no state is out of reach');
}

// --- Studio

const engine = new Liquid();
engine.registerFilter('to_json', (value) => JSON.stringify(value));

// One execution of a flow for a call.
//
//   agent      what it does once it has the call; what it does later it pushes on a list
//   through    takes Make HTTP Request to where its URL leads
//   voice      the same for TwiML Redirect
//   happening  for a widget, the event that comes whatever it does: Twilio's own failures
class Execution {
  constructor(definition, { call = newCall(), agent, through, voice, happening = {} } = {}) {
    Object.assign(this, { definition, call, agent, through, voice, happening });
    this.context = {
      flow: { sid: `FN${hex(32)}`, flow_sid: FLOW, variables: {} },
      trigger: { call },
      contact: { channel: { address: call.From } },
      widgets: {},
    };
    Object.assign(this, { path: [], tasks: [], said: [], dialled: [], later: [] });
  }

  render(value) {
    if (typeof value === 'string') return engine.parseAndRenderSync(value, this.context);
    if (Array.isArray(value)) return value.map((item) => this.render(item));
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, this.render(item)]));
  }

  async run() {
    for (let name = this.definition.initial_state; name;) {
      const state = this.definition.states.find((one) => one.name === name);
      this.path.push(name);
      const inARow = this.path.slice(-10);
      assert.ok(inARow.length < 10 || new Set(inARow).size > 1, `${name} ran ten times in a row`);
      assert.ok(this.path.length <= 1000);
      const event = this.happening[name] ?? await this[state.type](this.render(state.properties), name);
      const transition = state.type === 'split-based-on'
        ? this.split(state)
        : state.transitions.find((one) => one.event === event);
      name = transition.next;
    }
    await Promise.all(this.later);
    return this;
  }

  trigger() {
    return 'incomingCall';
  }

  // Studio only prints a <Redirect>; it is Twilio's voice that asks, and is sent on.
  async 'add-twiml-redirect'({ url: where, method }, name) {
    assert.equal(method, 'POST');
    let opened;
    try {
      opened = stream(await webhook(where, this.call, { through: this.voice }));
    } catch (error) {
      if (error.code !== 'ECONNREFUSED') throw error;
      return 'fail';
    }
    await this.agent?.(opened, this.later);
    // `CallStatus` as it is while the caller is there.
    const back = await webhook(opened.action, answered(this.call), { through: this.voice });
    const [returns] = only(twiml(back), 'Redirect').children;
    const [path, query] = returns.split('?');
    assert.equal(path, `https://webhooks.twilio.com/v1/Accounts/${ACCOUNT}/Flows/${FLOW}`);
    const { FlowEvent, ...rest } = Object.fromEntries(pairsOf(query));
    this.context.widgets[name] = rest;
    return FlowEvent;
  }

  // No answer within 10 s, one that is too large, or one that is not 2xx: failed.
  async 'make-http-request'({ method, url: where, parameters, content_type }, name) {
    assert.deepEqual([method, content_type.split(';')[0]], ['POST', 'application/x-www-form-urlencoded']);
    const form = Object.fromEntries(parameters.map(({ key, value }) => [key, value]));
    this.context.widgets[name] = {};
    const { through } = this;
    const asked = signed(where, form, { through }).catch(({ code }) => ({ status: code, headers: {}, body: '' }));
    const late = { status: 'late', headers: {}, body: '' };
    const { status, headers, body } = await Promise.race([asked, sleep(10 * SECOND).then(() => late)]);
    const type = headers['content-type'];
    const parsed = type === 'application/json' ? JSON.parse(body) : undefined;
    const isObject = parsed !== null && typeof parsed === 'object' && !Array.isArray(parsed);
    this.context.widgets[name] = {
      status_code: status, content_type: type, body, ...(isObject && { parsed }),
    };
    return status >= 200 && status < 300 && Buffer.byteLength(body) <= 64_000 ? 'success' : 'failed';
  }

  'split-based-on'() {}

  split({ transitions }) {
    const holds = ({ arguments: [text], type, value }) => {
      assert.equal(type, 'equal_to');
      return this.render(text) === value;
    };
    return transitions.find(({ conditions }) => conditions?.every(holds))
      ?? transitions.find(({ event }) => event === 'noMatch');
  }

  'set-variables'({ variables }) {
    for (const { key, value } of variables) this.context.flow.variables[key] = value;
    return 'next';
  }

  'send-to-flex'({ workflow, channel, attributes }) {
    assert.deepEqual([workflow, channel], [WORKFLOW, CHANNEL]);
    assert.ok(attributes.length <= 1024, `${attributes.length} characters`);
    try {
      this.tasks.push(JSON.parse(attributes));
    } catch {
      return 'failedToEnqueue';
    }
    return 'callComplete';
  }

  'say-play'({ say }) {
    this.said.push(say);
    return 'audioComplete';
  }

  'connect-call-to'({ noun, to, caller_id }) {
    assert.deepEqual([noun, caller_id], ['number', this.call.From]);
    this.dialled.push(to);
    return 'callCompleted';
  }

  get answer() {
    return this.context.widgets.get_handoff.parsed;
  }
}

// Where nothing listens, or what answers all alike.
const through = (where) => ({ method, target, headers, body }) => new Promise((answer, failed) => {
  const request = http.request({ host: '127.0.0.1', port: where, method, path: target, headers });
  request.on('error', failed);
  request.on('response', async (response) => {
    const chunks = [];
    for await (const chunk of response) chunks.push(chunk);
    const { statusCode: status, headers: given } = response;
    answer({ status, headers: given, body: Buffer.concat(chunks).toString() });
  });
  request.end(body);
});

async function answering(status, body, check) {
  const server = http.createServer((request, response) => {
    request.resume().on('end', () => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
  });
  await new Promise((listens) => server.listen(0, '127.0.0.1', listens));
  try {
    return await check(through(server.address().port));
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

// --- The checks

const made = await connector({
  destinations: { billing: { workflow_sid: WORKFLOW }, night: { number: NUMBER } },
});
const id = made.connector_id;
const flow = flowOf(id);
const execute = (options) => new Execution(flow, options).run();

const HIT = ['Trigger', 'connect_agent', 'get_handoff', 'route_call', 'send_to_flex'];
const ASK_AGAIN = ['get_handoff', 'route_call', 'count_miss', 'ask_once_more'];
const MISS = ['Trigger', 'connect_agent', ...ASK_AGAIN, ...ASK_AGAIN, 'send_to_flex'];
const PLAIN = ['Trigger', 'connect_agent', 'send_to_flex_plain'];
const HANDOFF = { destination: 'billing', reason: 'BILLING', verified: true };

const plain = ({ From, CallSid }) => ({
  type: 'inbound', name: From, handoff_found: false, handoff_status: 'missing', handoff_id: CallSid,
});

// Writes `data` some time after it got the call, when the call may have left it already.
const writesAfter = (millis, data) => ({ parameters }, later) => {
  const written = sleep(millis).then(() => write(parameters, data));
  if (millis === 0) return written;
  return void later.push(written);
};

const checks = [
  ['Studio takes the flow', () => assertStudioTakes(flow)],

  ['the flow goes to the connector, and holds no secret', () => {
    const text = JSON.stringify(flow);
    assert.ok(text.includes(`"${PUBLIC}/twilio/voice/${id}?flow={{flow.flow_sid}}"`));
    assert.ok(text.includes(`"${PUBLIC}/twilio/studio/handoff/${id}"`));
    assert.doesNotMatch(text, /btk_|bct_|eyJ|\/\/[^/"]*@/);
    const alone = flow.states.find(({ name }) => name === 'send_to_flex').properties.attributes;
    assert.equal(alone, '{{widgets.get_handoff.parsed.flex | to_json}}');
  }],

  ['a handoff that is there', async () => {
    const { path, tasks, answer, context, call } = await execute({ agent: writesAfter(0, HANDOFF) });
    assert.deepEqual(path, HIT);
    assert.deepEqual(tasks, [answer.flex]);
    const [{ handoff_status, handoff_id, handoff_leg, handoff_reason, handoff_verified }] = tasks;
    assert.deepEqual(
      [handoff_status, handoff_id, handoff_leg, handoff_reason, handoff_verified],
      ['ready', call.CallSid, 1, 'BILLING', true]);
    const { leg, after, action, destination, reason } = context.widgets.connect_agent;
    assert.deepEqual(
      [leg, after, action, destination, reason], ['1', '0', 'enqueue', 'billing', 'BILLING']);
  }],

  ['a handoff whose destination is a number goes to Flex all the same', async () => {
    const { path, answer, tasks } = await execute({ agent: writesAfter(0, { destination: 'night' }) });
    assert.equal(answer.action, 'dial');
    assert.deepEqual([path, tasks[0].handoff_destination], [HIT, 'night']);
  }],

  ['a handoff that would break a template', async () => {
    const line = '"}{{flow.sid}}{% raw %}\n\\ \'<&> 😀 שלום';
    const { path, tasks, answer } = await execute({
      agent: writesAfter(0, { destination: line, reason: line, summary: line.repeat(50), name: line }),
    });
    assert.deepEqual(path, HIT);
    assert.deepEqual(tasks, [answer.flex]);
  }],

  ['a handoff that is a second late', async () => {
    const { path, tasks, context } = await execute({ agent: writesAfter(SECOND, HANDOFF) });
    assert.equal(context.widgets.connect_agent.action, 'pending');
    assert.deepEqual(path, HIT);
    assert.equal(tasks[0].handoff_reason, 'BILLING');
  }],

  ['a handoff that comes after the first miss', async () => {
    const { path, tasks } = await execute({ agent: writesAfter(4.5 * SECOND, HANDOFF) });
    assert.deepEqual(path, [...HIT.slice(0, 2), ...ASK_AGAIN, ...HIT.slice(2)]);
    assert.equal(tasks[0].handoff_status, 'ready');
  }],

  ['no handoff: asked for twice, within the time that Studio has to answer', async () => {
    const began = Date.now();
    const { path, tasks, answer } = await execute();
    assert.ok(Date.now() - began < 10 * SECOND);
    assert.deepEqual(path, MISS);
    assert.deepEqual(tasks, [answer.flex]);
    assert.deepEqual([tasks[0].handoff_found, tasks[0].handoff_status], [false, 'missing']);
  }],

  ['a call that the agent settled ends, without a task', async () => {
    const { path, tasks, said, dialled } = await execute({ agent: writesAfter(0, { contained: true }) });
    assert.deepEqual(path, HIT.slice(0, 4));
    assert.deepEqual([tasks, said, dialled], [[], [], []]);
  }],

  ['a call that visits twice: the second visit does not see the handoff of the first', async () => {
    const call = newCall();
    const first = await execute({ call, agent: writesAfter(0, HANDOFF) });
    assert.equal(first.tasks[0].handoff_reason, 'BILLING');
    const second = await execute({ call });
    assert.deepEqual(second.path, MISS);
    const { leg, after } = second.context.widgets.connect_agent;
    assert.deepEqual([leg, after], ['2', first.answer.revision]);
    assert.deepEqual([second.tasks[0].handoff_status, second.tasks[0].handoff_leg], ['missing', 2]);
    const third = await execute({ call, agent: writesAfter(0, { reason: 'COMPLAINT' }) });
    assert.deepEqual([third.path, third.tasks[0].handoff_reason], [HIT, 'COMPLAINT']);
  }],

  ['a call that visits twice, and whose agent writes the same each time', async () => {
    const call = newCall();
    await execute({ call, agent: writesAfter(0, HANDOFF) });
    const { path, tasks } = await execute({ call, agent: writesAfter(0, HANDOFF) });
    assert.deepEqual([path, tasks[0].handoff_reason], [HIT, 'BILLING']);
  }],

  ['an error of whatever stands before Baton', async () => {
    for (const status of [500, 502, 503, 401, 404]) {
      await answering(status, { error: 'x' }, async (broken) => {
        const { path, tasks, call } = await execute({ agent: writesAfter(0, HANDOFF), through: broken });
        assert.deepEqual(path, [...HIT.slice(0, 3), 'send_to_flex_plain']);
        assert.deepEqual(tasks, [plain(call)]);
      });
    }
  }],

  ['an answer that is not Baton\'s', async () => {
    for (const body of [{ action: 'jump' }, {}, [], 'text', null]) {
      await answering(200, body, async (other) => {
        const { path, tasks, call } = await execute({ agent: writesAfter(0, HANDOFF), through: other });
        assert.deepEqual(path, [...HIT.slice(0, 4), 'send_to_flex_plain']);
        assert.deepEqual(tasks, [plain(call)]);
      });
    }
  }],

  ['a server that is gone', async () => {
    const nobody = through(await port());
    const after = await execute({ agent: writesAfter(0, HANDOFF), through: nobody });
    assert.deepEqual(after.path, [...HIT.slice(0, 3), 'send_to_flex_plain']);
    assert.deepEqual(after.tasks, [plain(after.call)]);
    const before = await execute({ voice: nobody, through: nobody });
    assert.deepEqual(before.path, PLAIN);
    assert.deepEqual(before.tasks, [plain(before.call)]);
  }],

  ['a caller whose name would break JSON', async () => {
    const call = newCall({ From: 'sip:"o\'neil\\"&co@pbx.example.com' });
    const { tasks } = await execute({ call, agent: writesAfter(0, HANDOFF) });
    assert.deepEqual(tasks.map(({ name, handoff_reason: reason }) => [name, reason]), [[call.From, 'BILLING']]);
    // Without Baton's answer the widget's own attributes are all there is, as Twilio shows them: quotes
    // around what is not escaped. Nothing but such a name breaks them, and then somebody is called.
    const { path } = await execute({ call, happening: { connect_agent: 'timeout' } });
    assert.deepEqual(path, [...PLAIN, 'say_sorry', 'dial_fallback']);
  }],

  ['Flex does not take the call: it is said, and somebody is called', async () => {
    const END = ['say_sorry', 'dial_fallback'];
    for (const event of ['failedToEnqueue', 'callFailure']) {
      const happening = { send_to_flex: event };
      const hit = await execute({ agent: writesAfter(0, HANDOFF), happening });
      assert.deepEqual(hit.path, [...HIT, ...END]);
      const failed = await execute({ happening: { connect_agent: 'fail', send_to_flex_plain: event } });
      assert.deepEqual(failed.path, [...PLAIN, ...END]);
      for (const { said, dialled } of [hit, failed]) {
        assert.deepEqual([said.length, dialled], [1, [NUMBER]]);
      }
    }
  }],

  ['the TwiML Bin says hello and leads to the agent', async () => {
    const bin = tree(recipe('twiml', 'twiml-bin.xml', ...at(id)));
    const [greeting] = only(bin, 'Say').children;
    assert.deepEqual(bin, built((response) => {
      response.say(greeting);
      response.redirect({ method: 'POST' }, url('voice', id));
    }));
    const [where] = only(bin, 'Redirect').children;
    const opened = stream(await webhook(where, newCall()));
    assert.equal(opened.parameters.connector_id, id);
  }],

  ['the fallback bin enqueues without Baton, whoever calls', async () => {
    const text = recipe('fallback-bin', 'fallback-bin.xml', '--workflow', WORKFLOW);
    assert.ok(!text.includes(PUBLIC));
    const CALLERS = [
      '+447700900123', 'anonymous', '', 'client:ada_1', "sip:o'neil;x=1&y=2@pbx.example.com",
      'sip:%22ada%22@pbx.example.com',
    ];
    for (const From of CALLERS) {
      const call = newCall({ From });
      // Mustache: escaped as HTML.
      const ESCAPED = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
      const rendered = text.replace(/{{(\w+)}}/g, (_, name) => call[name].replace(/[&<>"']/g, (c) => ESCAPED[c]));
      const bin = tree(rendered);
      const [json] = only(only(bin, 'Enqueue'), 'Task').children;
      const [said] = only(bin, 'Say').children;
      assert.deepEqual(bin, built((response) => {
        response.say(said);
        response.enqueue({ workflowSid: WORKFLOW }).task(json);
      }));
      assert.deepEqual(JSON.parse(json), { ...plain(call), handoff_status: 'error' });
    }
  }],
];

await run(checks);
// Connections are kept alive.
process.exit();
