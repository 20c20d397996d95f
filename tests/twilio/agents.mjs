// The agents that `baton recipe agent` writes, executed: each is started as it was written, and gets a call
// from something that speaks as Twilio does. `run` starts a server without a public URL, so that the
// agents reach it under the address that Baton tells them; see `common.mjs`. BATON is the program. Needs
// python3, bash and curl. The last line is "N passed, N failed"; the exit code is 1 if any failed.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { ACCOUNT, hex } from './common.mjs';
import {
  BILLING_WORKFLOW, PUBLIC, answered, assertTwiml, connector, newCall, only, port, read, task, twiml, url,
  visit, webhook,
} from './calls.mjs';
import { run } from './checks.mjs';

const SETTINGS = {
  destinations: { billing: { workflow_sid: BILLING_WORKFLOW } },
  extra_info: { telephony: { asr_lang_code: 'en-GB', tts_lang_code: 'en-GB' } },
};
const made = await connector(SETTINGS);
const bySip = await connector({
  ...SETTINGS, routing: { mode: 'sip', agent_url: null, sip: { uri: 'sip:billing@agent.example.com' } },
});

// --- The agents, as they are written

const folder = mkdtempSync(join(tmpdir(), 'baton-agents-'));
const children = [];
process.on('exit', () => {
  for (const child of children) child.kill();
  rmSync(folder, { recursive: true, force: true });
});

// Writes the agents for a connector, as if Baton were at `where`; answers the directory.
function recipe(id, where = PUBLIC) {
  const dir = join(folder, hex(8));
  execFileSync(process.env.BATON, ['recipe', 'agent', dir, '--connector', id, '--url', where], { stdio: 'pipe' });
  symlinkSync(fileURLToPath(new URL('node_modules', import.meta.url)), join(dir, 'node_modules'));
  return dir;
}

// What the agents log.
const log = [];

// Starts an agent that takes sockets; answers where.
async function listening(dir, file) {
  const child = spawn(process.execPath, [join(dir, file)], {
    env: { ...process.env, PORT: '0' }, stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  child.stderr.setEncoding('utf8').on('data', (text) => log.push(text));
  const [line] = await once(child.stdout.setEncoding('utf8'), 'data');
  return `ws://127.0.0.1:${line.match(/^listening on port (\d+)\n/)[1]}`;
}

// --- Twilio's end of a socket

class Socket {
  constructor(where) {
    this.socket = new WebSocket(where);
    this.heard = [];
    this.waiting = [];
    this.closed = once(this.socket, 'close');
    this.socket.on('message', (text) => {
      const message = JSON.parse(text);
      const next = this.waiting.shift();
      if (next) next(message);
      else this.heard.push(message);
    });
  }

  static async open(where) {
    const opened = new Socket(where);
    await once(opened.socket, 'open');
    return opened;
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }

  async next() {
    return this.heard.shift() ?? new Promise((heard) => {
      this.waiting.push(heard);
    });
  }
}

// A media stream up to the moment at which the agent has the call.
async function streamed(where, call, customParameters) {
  const socket = await Socket.open(where);
  const streamSid = `MZ${hex(32)}`;
  let sequence = 0;
  const send = (event, of) => {
    sequence += 1;
    socket.send({ event, sequenceNumber: String(sequence), streamSid, ...of });
  };
  socket.send({ event: 'connected', protocol: 'Call', version: '1.0.0' });
  send('start', {
    start: {
      accountSid: ACCOUNT, streamSid, callSid: call.CallSid, tracks: ['inbound'], customParameters,
      mediaFormat: { encoding: 'audio/x-mulaw', sampleRate: 8000, channels: 1 },
    },
  });
  for (let chunk = 1; chunk <= 3; chunk += 1) {
    const payload = Buffer.alloc(160, 0xff).toString('base64');
    send('media', { media: { track: 'inbound', chunk: String(chunk), timestamp: String(chunk * 20), payload } });
  }
  return { socket, press: (digit) => send('dtmf', { dtmf: { track: 'inbound_track', digit } }) };
}

const stopped = ({ statusCallback }, call) => webhook(statusCallback, {
  AccountSid: ACCOUNT, CallSid: call.CallSid, StreamSid: `MZ${'e'.repeat(32)}`, StreamName: 'a',
  StreamEvent: 'stream-stopped', Timestamp: '2026-11-23T00:00:00.000Z',
});

const assertEnded = (answer) => assertTwiml(answer, (response) => response.hangup());

function assertBilling(answer) {
  const { enqueue, attributes } = task(answer);
  assert.equal(enqueue.attributes.workflowSid, BILLING_WORKFLOW);
  const { handoff_status, handoff_reason, handoff_destination } = attributes;
  assert.deepEqual([handoff_status, handoff_reason, handoff_destination], ['ready', 'BILLING', 'billing']);
  return attributes;
}

// --- PolyAI's end of a function

// As much of what Agent Studio gives a function as this one uses; what it did is printed.
const GEN = `
class Conversation: pass
def func_description(text): return lambda function: function
def func_parameter(name, text): return lambda function: function
`;
const CONVERSATION = `
import importlib.util, json, sys

class State:
    def __init__(self, known): self.__dict__.update(known)
    def __getattr__(self, name): return None

class Log:
    def warning(self, line, **rest): told["log"].append(line)
    info = error = warning

class Conv:
    def __init__(self, headers): self.sip_headers, self.state, self.log = headers, State(given["state"]), Log()
    def call_handoff(self, destination, reason=None, utterance=None, sip_headers=None, route=None):
        told["handoff"] = {"destination": destination, "reason": reason, "utterance": utterance}
        return {"handoff": told["handoff"]}

given = json.load(sys.stdin)
told = {"log": [], "handoff": None}
spec = importlib.util.spec_from_file_location("hand_off", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
conv = Conv(given["headers"])
told["returned"] = module.hand_off(conv, **given["arguments"])
told["shared_id"] = conv.state.shared_id
print(json.dumps(told))
`;

// Runs a programme to its end; `input` is what it reads.
function ran(program, args, { input = '', env = {} } = {}) {
  return new Promise((done) => {
    const options = { env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', ...env } };
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      done({ code: error?.code ?? 0, stdout, stderr });
    });
    // A programme that refuses its settings reads nothing.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

const ARGUMENTS = { destination: 'billing', reason: 'BILLING', summary: 'Asks about "invoice" 17 – and more.' };

async function handedOff(dir, headers) {
  writeFileSync(join(dir, '_gen.py'), GEN);
  const state = { asr_lang_code: 'en-GB', customer_name: 'Zoë', verified: true };
  const input = JSON.stringify({ headers, state, arguments: ARGUMENTS });
  const { code, stdout, stderr } = await ran('python3', ['-c', CONVERSATION, join(dir, 'agent-polyai.py')], {
    input, env: { PYTHONPATH: dir },
  });
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

// A call that is with an agent by SIP: the headers that it brings, and where it comes back.
async function dialled() {
  const call = newCall();
  const dial = only(twiml(await webhook(url('voice', bySip.connector_id), call)), 'Dial');
  const [uri] = only(dial, 'Sip').children;
  const headers = Object.fromEntries(uri.split('?')[1].split('&').map((pair) => (
    pair.split('=').map(decodeURIComponent))));
  return { call, headers, action: dial.attributes.action };
}

const agents = recipe(made.connector_id);
const sipAgents = recipe(bySip.connector_id);
const atStream = await listening(agents, 'agent-stream.mjs');
const atRelay = await listening(agents, 'agent-relay.mjs');

const checks = [
  ['media stream: a key, the handoff, and only then the end', async () => {
    const call = newCall();
    const opened = await visit(made.connector_id, call);
    const { socket, press } = await streamed(atStream, call, opened.parameters);
    press('5');
    press('1');
    press('9');
    await socket.closed;
    // Nothing is waited for: it was written before.
    const { status, body } = await read(call.CallSid);
    assert.equal(status, 200);
    assert.deepEqual([body.data.reason, body.data.language], ['BILLING', 'en-GB']);
    assert.equal((await stopped(opened, call)).status, 204);
    const attributes = assertBilling(await webhook(opened.action, answered(call)));
    assert.equal(attributes.handoff_summary, 'Asks about a bill.');
  }],

  ['media stream: nothing more is needed', async () => {
    const call = newCall();
    const opened = await visit(made.connector_id, call);
    const { socket, press } = await streamed(atStream, call, opened.parameters);
    press('9');
    await socket.closed;
    assertEnded(await webhook(opened.action, answered(call)));
  }],

  ['media stream: two calls at once', async () => {
    const calls = [newCall(), newCall()];
    const answers = await Promise.all(calls.map(async (call, index) => {
      const opened = await visit(made.connector_id, call);
      const { socket, press } = await streamed(atStream, call, opened.parameters);
      press(index === 0 ? '1' : '0');
      await socket.closed;
      return webhook(opened.action, answered(call));
    }));
    assertBilling(answers[0]);
    assert.equal(task(answers[1]).attributes.handoff_reason, 'SPEAK_TO');
  }],

  ['media stream: a token that opens nothing, or another Baton, does not keep the caller', async () => {
    const call = newCall();
    const { parameters } = await visit(made.connector_id, call);
    for (const wrong of [
      { call_token: `${parameters.call_token.slice(0, -4)}aaaa` }, { call_token: 'a\nb' },
      { handoff_url: `${PUBLIC}.example.com/v1/handoff_state` }, { handoff_url: undefined },
    ]) {
      const { socket, press } = await streamed(atStream, call, { ...parameters, ...wrong });
      press('1');
      const [code] = await socket.closed;
      assert.equal(code, 1000);
      assert.equal((await read(call.CallSid)).status, 404);
    }
  }],

  ['media stream: a server that is gone, or says nothing, does not keep the caller', async () => {
    for (const silent of [false, true]) {
      const nobody = `http://127.0.0.1:${await port({ silent })}`;
      const at = await listening(recipe(made.connector_id, nobody), 'agent-stream.mjs');
      const { socket, press } = await streamed(at, newCall(), {
        handoff_url: `${nobody}/v1/handoff_state?id=x`, call_token: 'bct_x',
      });
      const began = Date.now();
      press('1');
      await socket.closed;
      assert.ok(Date.now() - began < 4000);
      assert.match(log.at(-1), silent ? /TimeoutError/ : /ECONNREFUSED/);
    }
    assert.doesNotMatch(log.join(''), /bct_/);
  }],

  ['what is not Twilio ends no agent', async () => {
    for (const where of [atStream, atRelay]) {
      for (const text of ['', 'null', '[]', '{', '{"event":"start"}', '{"event":"dtmf"}', '{"type":"prompt"}']) {
        const { socket, closed } = await Socket.open(where);
        socket.send(text);
        socket.close();
        await closed;
      }
      const { socket } = await Socket.open(where);
      socket.terminate();
    }
  }],

  ['ConversationRelay: what it ends with is the handoff', async () => {
    const call = newCall();
    const socket = await Socket.open(atRelay);
    socket.send({
      type: 'setup', sessionId: `VX${hex(32)}`, accountSid: ACCOUNT, parentCallSid: '', callSid: call.CallSid,
      from: call.From, to: call.To, forwardedFrom: '', callType: 'PSTN', callerName: '', direction: 'inbound',
      callStatus: 'RINGING', customParameters: {},
    });
    const says = (voicePrompt, last = true) => socket.send({ type: 'prompt', voicePrompt, lang: 'en-GB', last });
    says('Well,');
    assert.deepEqual(await socket.next(), { type: 'text', token: 'What can I do for you?', last: true });
    says('my', false);
    says('my "invoice" is wrong');
    const { type, handoffData } = await socket.next();
    assert.equal(type, 'end');
    socket.socket.close();
    const form = {
      SessionId: `VX${hex(32)}`, SessionStatus: 'ended', SessionDuration: '12', HandoffData: handoffData,
    };
    const answer = await webhook(url('handoff', made.connector_id), answered(call, form));
    const attributes = assertBilling(answer);
    assert.equal(attributes.handoff_summary, 'The caller said: Well, / my "invoice" is wrong');
    const { body } = await read(call.CallSid);
    assert.deepEqual([body.data.reason, body.data.language], ['BILLING', 'en-GB']);
  }],

  ['ConversationRelay: nothing more is needed', async () => {
    const call = newCall();
    const socket = await Socket.open(atRelay);
    socket.send({ type: 'setup', callSid: call.CallSid });
    socket.send({ type: 'prompt', voicePrompt: 'Thank you, goodbye', lang: 'en-GB', last: true });
    const { handoffData } = await socket.next();
    socket.socket.close();
    const form = { SessionStatus: 'ended', HandoffData: handoffData };
    assertEnded(await webhook(url('handoff', made.connector_id), answered(call, form)));
  }],

  ['PolyAI: the handoff is written before the call is given back', async () => {
    const { call, headers, action } = await dialled();
    const { log: lines, handoff, returned, shared_id } = await handedOff(sipAgents, headers);
    assert.deepEqual(lines, []);
    assert.deepEqual([handoff.destination, handoff.reason], ['baton', 'BILLING']);
    assert.deepEqual(returned, { handoff });
    assert.equal(shared_id, call.CallSid);
    const { body } = await read(call.CallSid);
    assert.deepEqual(body.data, { ...ARGUMENTS, language: 'en-GB', name: 'Zoë', verified: true });
    const back = answered(call, { DialCallStatus: 'completed', DialCallSid: newCall().CallSid });
    const attributes = assertBilling(await webhook(action, back));
    assert.deepEqual([attributes.name, attributes.handoff_verified], ['Zoë', true]);
  }],

  ['PolyAI: headers in small letters, and percent-encoded', async () => {
    const { call, headers } = await dialled();
    const encoded = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), encodeURIComponent(value)]);
    assert.deepEqual((await handedOff(sipAgents, Object.fromEntries(encoded))).log, []);
    assert.equal((await read(call.CallSid)).status, 200);
  }],

  ['PolyAI: what goes wrong does not keep the caller, and is told without the token', async () => {
    const { call, headers } = await dialled();
    const token = headers['X-Call-Token'];
    const [gone, silent] = [await port(), await port({ silent: true })].map((at) => `http://127.0.0.1:${at}`);
    for (const [where, wrong, why] of [
      [PUBLIC, { 'X-Call-Token': `${token.slice(0, -4)}aaaa` }, /answered 401$/],
      [PUBLIC, { 'X-Call-Token': `${token}\r\nX-A: 1` }, /ValueError$/],
      [PUBLIC, { 'X-Handoff-Url': `${PUBLIC}.example.com/v1` }, /no X-Handoff-Url of this Baton$/],
      [PUBLIC, { 'X-Handoff-Url': 'file:///etc/passwd' }, /no X-Handoff-Url of this Baton$/],
      [gone, { 'X-Handoff-Url': `${gone}/v1` }, /URLError$/],
      [silent, { 'X-Handoff-Url': `${silent}/v1` }, /(?:TimeoutError|URLError)$/],
    ]) {
      const dir = recipe(bySip.connector_id, where);
      const began = Date.now();
      const { log: lines, handoff } = await handedOff(dir, { ...headers, ...wrong });
      assert.equal(handoff.destination, 'baton');
      assert.equal(lines.length, 1);
      assert.match(lines[0], why);
      assert.ok(!lines[0].includes(token.slice(0, 20)));
      assert.ok(Date.now() - began < 5000);
    }
    assert.equal((await handedOff(sipAgents, null)).log.length, 1);
    assert.equal((await read(call.CallSid)).status, 404);
  }],

  ['curl: writes from a file or standard input, and says when it could not', async () => {
    const call = newCall();
    const { parameters, action } = await visit(made.connector_id, call);
    const script = join(agents, 'write-handoff.sh');
    const env = { HANDOFF_URL: parameters.handoff_url, CALL_TOKEN: parameters.call_token };
    const first = await ran('bash', [script], { input: JSON.stringify({ reason: 'COMPLAINT' }), env });
    assert.equal(first.code, 0, first.stderr);
    const file = join(folder, 'handoff.json');
    writeFileSync(file, JSON.stringify(ARGUMENTS, null, 2));
    const { code, stdout, stderr } = await ran('bash', [script, file], { env });
    assert.equal(code, 0, stderr);
    assert.equal(JSON.parse(stdout).id, call.CallSid);
    assertBilling(await webhook(action, answered(call)));
    for (const [wrong, input] of [
      [{ CALL_TOKEN: 'bct_x' }, '{}'], [{ CALL_TOKEN: '' }, '{}'], [{ HANDOFF_URL: '' }, '{}'], [{}, '{"a":'],
    ]) {
      const failed = await ran('bash', [script], { input, env: { ...env, ...wrong } });
      assert.notEqual(failed.code, 0);
      assert.ok(!`${failed.stdout}${failed.stderr}`.includes(parameters.call_token));
    }
    assert.equal((await ran('bash', [script, join(folder, 'absent')], { env })).code, 1);
    assert.deepEqual((await read(call.CallSid)).body.data, ARGUMENTS);
  }],
];

await run(checks);
// Connections are kept alive.
process.exit();
