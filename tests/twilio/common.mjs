// What `signatures.mjs` and `studio.mjs` share: the settings of the server under test, a connection to
// it, Twilio's signatures, and chance that can be repeated.
//
//   BATON_URL                  where the server listens
//   PUBLIC_URL, AUTH_TOKENS    its BATON_PUBLIC_URL and BATON_TWILIO_AUTH_TOKENS
//   SEED                       repeats a run; it is printed first

import { randomInt } from 'node:crypto';
import http from 'node:http';
import twilio from 'twilio';

const server = new URL(process.env.BATON_URL);

// A proxy in front takes the prefix off, so it is in the URL that Twilio signs and not in the target.
export const BASES = process.env.PUBLIC_URL.split(' ').map((url) => {
  const { protocol, host, pathname } = new URL(url);
  return { host, url: `${protocol}//${host}${pathname.replace(/\/$/, '')}` };
});
export const [ACCOUNT, tokens] = process.env.AUTH_TOKENS.split('=');
export const TOKENS = tokens.split(',');

export const FORM = 'application/x-www-form-urlencoded';
export const JSON_TYPE = 'application/json';
export const SIGNATURE = 'X-Twilio-Signature';

// --- Chance

const seed = Number(process.env.SEED ?? randomInt(2 ** 32));
console.log(`SEED=${seed}`);

// mulberry32: small, and good enough to choose test cases.
let state = seed;
export function random() {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
export const below = (limit) => Math.floor(random() * limit);
export const chance = (part) => random() < part;
export const pick = (list) => list[below(list.length)];
export const times = (count, make) => Array.from({ length: count }, make);
export const shuffled = (list) => list
  .map((item) => [random(), item])
  .sort(([a], [b]) => a - b)
  .map(([, item]) => item);

// Pieces that need care: what separates, what is encoded in two ways, what sorts in two ways (U+FB01 and
// U+FFFF come after an emoji in UTF-16 and before it in UTF-8), what somebody may trim or normalise.
const PIECES = [
  'a', 'B', 'Zz', '0', '10', '9', '~', '_', '-', '.', '*', '!', '(', ')', ';', ':', '@', ',', '/', '?',
  '$', '&', '=', '%', '%2B', '+', ' ', '  ', "'", "''", '"', '<b>', '#', '\\', '^', '`', '{', '|', '}',
  '\t', '\r\n', '\n', '\0', '\x7f', '\u00a0', '\u200d', '\u202e', '\u2028', '\ufeff', '\uffff', '\ufb01',
  'é', 'e\u0301', 'ß', 'İ', 'שלום', 'مرحبا', '日本語', '😀', '👩🏽‍💻', '🇬🇧', '\u{10000}', '\u{10ffff}',
];
export const text = (most) => times(below(most + 1), () => pick(PIECES)).join('');

export const hex = (digits) => times(digits, () => below(16).toString(16)).join('');
export const callSid = () => `CA${hex(32)}`;

// --- Signatures

export const sign = (url, params = {}, token = TOKENS[0]) => (
  twilio.getExpectedTwilioSignature(token, url, params));

export const bodyHash = (body) => twilio.getExpectedBodyHash(body);

// The pairs of a query or form. `URLSearchParams` drops a `?` in front, which may be part of a name.
export const pairsOf = (encoded) => new URLSearchParams(`?${encoded}`);

// As Twilio's SDK wants a form: decoded, and an array where a name is repeated. No prototype, for a
// parameter may be called `__proto__`.
export function formParams(body) {
  const params = Object.create(null);
  for (const [name, value] of pairsOf(body)) {
    if (name in params) params[name] = [params[name], value].flat();
    else params[name] = value;
  }
  return params;
}

// --- The connection

const agent = new http.Agent({ keepAlive: true, maxSockets: 16 });

// Sends the target byte for byte, to the server's port whatever `headers.host` says.
export function send({ method, target, headers, body = '' }, tries = 3) {
  return new Promise((answered, failed) => {
    const request = http.request({
      agent,
      hostname: server.hostname,
      port: server.port,
      method,
      path: target,
      headers: method === 'GET' ? headers : { ...headers, 'content-length': Buffer.byteLength(body) },
      timeout: 15_000,
    });
    request.on('timeout', () => request.destroy(new Error(`no answer to ${method} ${target}`)));
    request.on('error', (error) => {
      // The server may close an idle connection in the moment in which it is used again.
      if (request.reusedSocket && error.code === 'ECONNRESET' && tries > 1) {
        answered(send({ method, target, headers, body }, tries - 1));
      } else {
        failed(error);
      }
    });
    request.on('response', async (response) => {
      try {
        const chunks = [];
        for await (const chunk of response) chunks.push(chunk);
        const { statusCode: status, headers: given } = response;
        answered({ status, headers: given, body: Buffer.concat(chunks).toString() });
      } catch (error) {
        failed(error);
      }
    });
    request.end(method === 'GET' ? undefined : body);
  });
}

// Works through `items`, as many at a time as there are connections.
export async function each(items, work) {
  const left = items.entries();
  await Promise.all(times(agent.maxSockets, async () => {
    for (const [index, item] of left) await work(item, index);
  }));
}
