// What `flow.mjs`, `voice.mjs` and `agents.mjs` share: connectors, the webhooks of a call, TwiML, and what
// an agent writes. `common.mjs` tells how the server is set up.
//
//   BATON_API_KEY_FILE   the file with its admin key

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { DOMParser } from '@xmldom/xmldom';
import twilio from 'twilio';
import {
  ACCOUNT, BASES, FORM, JSON_TYPE, SIGNATURE, callSid, formParams, hex, pairsOf, send, sign,
} from './common.mjs';

export const [{ host: HOST, url: PUBLIC }] = BASES;
export const ADMIN_KEY = readFileSync(process.env.BATON_API_KEY_FILE, 'utf8').trim();
export const AGENT_URL = 'wss://agent.example.com/stream';

export const WORKFLOW = `WW${'a1'.repeat(16)}`;
export const BILLING_WORKFLOW = `WW${'b2'.repeat(16)}`;

export const flowSid = () => `FW${hex(32)}`;

// --- Baton's own doors

async function api(method, target, body, key = ADMIN_KEY) {
  const headers = { host: HOST, 'x-api-key': key, 'content-type': JSON_TYPE };
  const answer = await send({ method, target, headers, body: body && JSON.stringify(body) });
  return { ...answer, body: answer.body && JSON.parse(answer.body) };
}

// Makes a connector of project `line`, environment `live`; answers it as Baton does.
export async function connector(settings = {}) {
  const made = await api('POST', '/api/v1/connector', {
    name: `test ${hex(12)}`,
    project_id: 'line',
    client_env: 'live',
    flex: { workflow_sid: WORKFLOW },
    ...settings,
    routing: { agent_url: AGENT_URL, ...settings.routing },
  });
  assert.ok([200, 201].includes(made.status), JSON.stringify(made.body));
  return made.body;
}

export async function patch(id, settings) {
  const { status, body } = await api('PATCH', `/api/v1/connector/${id}`, settings);
  assert.equal(status, 200, JSON.stringify(body));
  return body;
}

// What the reference's Function, or a person's screen, reads.
export async function read(id, { account = 'default', key } = {}) {
  const named = key ? '' : `&account_id=${account}`;
  return api('GET', `/v1/handoff_state?id=${id}${named}`, undefined, key);
}

// --- Twilio

// What Twilio tells of a call. The numbers are kept free for stories.
export const newCall = (rest = {}) => ({
  CallSid: callSid(),
  AccountSid: ACCOUNT,
  From: '+447700900123',
  Caller: '+447700900123',
  To: '+441632960000',
  Called: '+441632960000',
  CallStatus: 'ringing',
  Direction: 'inbound',
  ApiVersion: '2010-04-01',
  ...rest,
});

export const answered = (call, rest = {}) => ({ ...call, CallStatus: 'in-progress', ...rest });

// A request as Twilio signs it; `through` takes it to where the URL leads.
export function signed(url, params, { method = 'POST', through = send, ...rest } = {}) {
  assert.ok(url.startsWith(`${PUBLIC}/`), url);
  if (method === 'GET') {
    const whole = `${url}${url.includes('?') ? '&' : '?'}${new URLSearchParams(params)}`;
    const headers = { host: HOST, [SIGNATURE]: sign(whole), ...rest.headers };
    return through({ method, target: whole.slice(PUBLIC.length), headers });
  }
  const body = `${new URLSearchParams(params)}`;
  const headers = {
    host: HOST,
    'content-type': `${FORM}; charset=UTF-8`,
    [SIGNATURE]: sign(url, formParams(body)),
    ...rest.headers,
  };
  return through({ method, target: url.slice(PUBLIC.length), headers, body });
}

// A webhook. Twilio sends one again when it is not sure that it was answered; the answer is the same.
export async function webhook(url, params, options) {
  const first = await signed(url, params, options);
  const again = await signed(url, params, options);
  const told = ({ status, headers, body }) => ({
    status, type: headers['content-type'], location: headers.location, body,
  });
  assert.deepEqual(told(again), told(first), `${url} was answered otherwise when it was sent again`);
  return first;
}

export const url = (route, id, query = '') => `${PUBLIC}/twilio/${route}/${id}${query}`;

// A port of this machine at which nobody listens; or somebody who takes connections and never answers.
export async function port({ silent = false } = {}) {
  const server = createServer((socket) => socket.on('error', () => {}));
  await new Promise((listens) => server.listen(0, '127.0.0.1', listens));
  const { port: free } = server.address();
  if (silent) server.unref();
  else await new Promise((closed) => server.close(closed));
  return free;
}

// --- TwiML

const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>';
// What XML 1.0 cannot hold, escaped or not.
const NOT_XML = /[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u;
const meant = (_, isHex, digits) => String.fromCodePoint(parseInt(digits, isHex ? 16 : 10));

// An element as `{name, attributes, children}`; texts are children, and blanks between elements are none.
export function tree(xml) {
  assert.doesNotMatch(xml.replace(/&#(x?)([\da-f]+);/gi, meant), NOT_XML);
  const onError = (level, message) => {
    // It takes that character for a fault of the encoding.
    if (level === 'warning' && message.includes('replacement character')) return;
    throw new Error(`${level}: ${message}\n${xml}`);
  };
  // As XML 1.0 has it; the parser's own rule is that of 1.1.
  const normalizeLineEndings = (text) => text.replace(/\r\n?/g, '\n');
  const parser = new DOMParser({ onError, normalizeLineEndings });
  return element(parser.parseFromString(xml, 'text/xml').documentElement);
}

function element(node) {
  const attributes = {};
  for (let i = 0; i < node.attributes.length; i += 1) {
    const { name, value } = node.attributes.item(i);
    attributes[name] = value;
  }
  const children = [];
  for (let child = node.firstChild; child; child = child.nextSibling) {
    if (child.nodeType === child.ELEMENT_NODE) children.push(element(child));
    else if (child.nodeType !== child.COMMENT_NODE) children.push(child.data);
  }
  const isElement = (child) => typeof child === 'object';
  // Text that is written in several pieces is one.
  const kept = children.some(isElement)
    ? children.filter((child) => isElement(child) || child.trim() !== '')
    : [children.join('')].filter(Boolean);
  return { name: node.tagName, attributes, children: kept };
}

// TwiML as an answer holds it.
export function twiml({ status, headers, body }) {
  assert.equal(status, 200, body);
  assert.equal(headers['content-type'], 'text/xml; charset=utf-8');
  assert.ok(body.startsWith(`${DECLARATION}<Response`), body);
  assert.doesNotMatch(body, />[ \t\r\n]+</);
  const response = tree(body);
  assert.equal(response.name, 'Response');
  return response;
}

// The same as Twilio's SDK writes what `build` puts into a response.
export function built(build = () => {}) {
  const response = new twilio.twiml.VoiceResponse();
  build(response);
  return tree(response.toString());
}

export const assertTwiml = (answer, build) => assert.deepEqual(twiml(answer), built(build), answer.body);

// The one element of that name below another.
export function only(within, name) {
  const found = within.children.filter((child) => child.name === name);
  assert.equal(found.length, 1, `${name} in ${JSON.stringify(within)}`);
  return found[0];
}

// The attributes of the task that an answer makes, and their text.
export function task(answer) {
  const enqueue = only(twiml(answer), 'Enqueue');
  const [text] = only(enqueue, 'Task').children;
  return { enqueue, text, attributes: JSON.parse(text) };
}

// --- The agent

// Sends a call to the agent of a connector by a media stream, and answers what the agent gets.
export async function visit(id, call, query = '') {
  return stream(await webhook(url('voice', id, query), call));
}

export function stream(answer) {
  const connect = only(twiml(answer), 'Connect');
  const { attributes, children } = only(connect, 'Stream');
  const query = pairsOf(connect.attributes.action.split('?')[1]);
  return {
    action: connect.attributes.action,
    statusCallback: attributes.statusCallback,
    leg: query.get('leg'),
    after: query.get('after'),
    parameters: Object.fromEntries(children.map(({ attributes: { name, value } }) => [name, value])),
  };
}

// The agent writes, with nothing but what the stream's start brought.
export async function write({ handoff_url: where, call_token: token }, data, rest = {}) {
  assert.ok(where.startsWith(`${PUBLIC}/`), where);
  const { status, body } = await send({
    method: 'PUT',
    target: where.slice(PUBLIC.length),
    headers: { host: HOST, authorization: `Bearer ${token}`, 'content-type': JSON_TYPE },
    body: JSON.stringify({ data, ...rest }),
  });
  assert.ok([200, 201].includes(status), body);
  return String(JSON.parse(body).revision);
}
