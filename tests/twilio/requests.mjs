// Signed requests as Twilio makes them, and what may be changed in one.
//
// A request is `{route, base, host, method, target, type, body, signatures}`; `signatures` are the values
// of the header, one each time it is sent.

import { parse, stringify } from 'node:querystring';
import {
  ACCOUNT, BASES, FORM, JSON_TYPE, TOKENS, below, bodyHash, callSid, chance, formParams, hex, pick,
  shuffled, sign, text, times,
} from './common.mjs';

export const STUDIO = '/twilio/studio/handoff';
export const CHECK = '/twilio/check';

// Handoffs that are there, for what is not there may be waited for.
export const WRITTEN = times(8, callSid);

// --- Spelling

// What may stand raw in a target as actix takes it; `#` would end it. `%` may be followed by anything.
const RAW = "!*'();:@,/?$[]{}|\\^`";
const IN_QUERY = [...`aZ09~._-&=+%${RAW}`];
const UNRESERVED = /[A-Za-z0-9._~-]/;

const escaped = (byte, isUpper) => {
  const digits = byte.toString(16).padStart(2, '0');
  return `%${isUpper ? digits.toUpperCase() : digits}`;
};

// A name or value in a query or a form. `tidy` is as browsers and SDKs write; else every character is
// spelled anew.
function spelled(value, tidy) {
  if (tidy) return encodeURIComponent(value).replace(/%20/g, tidy.space);
  return [...Buffer.from(value)].map((byte) => {
    const char = String.fromCharCode(byte);
    if (char === ' ') return pick(['+', '%20']);
    const isRaw = UNRESERVED.test(char) ? chance(0.95) : RAW.includes(char) && chance(0.6);
    return isRaw ? char : escaped(byte, chance(0.7));
  }).join('');
}

const pairText = ([name, value], tidy) => {
  const isBare = value === '' && !tidy && chance(0.4);
  return spelled(name, tidy) + (isBare ? '' : `=${spelled(value, tidy)}`);
};

function encoded(pairs) {
  const tidy = chance(0.4) && { space: pick(['+', '%20']) };
  const parts = pairs.map((pair) => pairText(pair, tidy));
  const odd = pick(['', '?', '=', '==', '100%', '%zz']);
  if (!tidy && chance(0.2)) parts.splice(below(parts.length + 1), 0, odd);
  return parts.join('&');
}

// --- Making one

function somePairs() {
  const pairs = times(below(6), () => [text(3), text(4)]);
  for (const [name, value] of [...pairs]) {
    if (chance(0.2)) pairs.push([name, text(4)]);
    if (chance(0.1)) pairs.push([name, value]);
  }
  if (chance(0.05)) pairs.push([pick(['__proto__', 'constructor', 'toString', 'length']), text(2)]);
  if (chance(0.05)) pairs.push(['note', 'bodySHA256']);
  return pairs;
}

// What the routes look at: one of the call's names, and the account, which only Studio may leave out.
function ownPairs(route) {
  const pairs = [];
  if (route === CHECK || chance(0.6)) pairs.push(['CallSid', pick(WRITTEN)]);
  else if (chance(0.7)) pairs.push(['id', pick(WRITTEN)]);
  if (route === CHECK || chance(0.5)) pairs.push(['AccountSid', ACCOUNT]);
  return pairs;
}

function jsonBody(pairs) {
  const members = Object.fromEntries([...pairs, [text(2), below(99)], ['list', times(2, () => text(4))]]);
  return pick(['', '\n']) + JSON.stringify(members, null, pick([0, 2])) + pick(['', '\r\n', ' ']);
}

export function made() {
  const route = pick([STUDIO, CHECK]);
  const base = pick(BASES);
  const kind = pick(route === STUDIO ? ['GET', 'FORM', 'JSON'] : ['GET', 'FORM']);
  const isHidden = kind !== 'GET' && chance(0.8);
  const own = ownPairs(route);
  const inQuery = [...somePairs(), ...(isHidden ? [] : own)];
  const inBody = [...somePairs(), ...(isHidden ? own : [])];
  let query = encoded(shuffled(inQuery));
  let body = '';
  let type;
  if (kind === 'FORM') {
    body = encoded(shuffled(inBody));
    type = pick([FORM, `${FORM};charset=utf-8`, `${FORM}; charset=UTF-8`]);
  } else if (kind === 'JSON') {
    body = jsonBody(isHidden ? own : []);
    type = pick([JSON_TYPE, `${JSON_TYPE};charset=utf-8`]);
    const hash = `${pick(['bodySHA256', 'bodySHA256', 'bodySHA25%36'])}=${bodyHash(body)}`;
    query = shuffled([hash, ...query.split('&').filter(Boolean)]).join('&');
  }
  const target = route + (query || chance(0.1) ? `?${query}` : '');
  const method = kind === 'GET' ? 'GET' : 'POST';
  const request = { route, base, host: base.host, method, target, type, body: Buffer.from(body) };
  return signed(request, signedUrl(request));
}

// The URL as one of Twilio's back ends may have written it: with or without the port, and encoded anew.
function signedUrl({ base, target }) {
  let url = base.url + target;
  if (chance(0.3)) url = toggledPort(url);
  if (chance(0.1)) return new URL(url).toString();
  return chance(0.1) ? reencoded(url) : url;
}

const toggledPort = (url) => (
  url.includes(':8443/') ? url.replace(':8443/', '/') : url.replace('.com/', '.com:443/'));

// As Node's old `querystring` writes it; the last of the forms that twilio-node tries.
const reencoded = (url) => {
  const [, before, query] = /^([^?]*\?)(.*)$/s.exec(url) ?? [];
  return query ? before + stringify(parse(query)) : url;
};

export const isForm = (type) => /^application\/x-www-form-urlencoded\s*(;|$)/i.test(type ?? '');

function signed(request, url = request.base.url + request.target, token = TOKENS[0]) {
  const params = request.method === 'POST' && isForm(request.type) ? formParams(request.body) : {};
  return { ...request, signatures: [sign(url, params, token)] };
}

// --- Changing one, in one place

// One character replaced, inserted or taken out.
function edited(line, alphabet) {
  const at = below(line.length + 1);
  return line.slice(0, at) + pick([pick(alphabet), pick(alphabet), '']) + line.slice(at + below(2));
}

export const queryOf = (request) => request.target.slice(request.route.length + 1);
const withQuery = (request, query) => ({ ...request, target: `${request.route}?${query}` });

// `change` of the parts between `&`, in the query or in the form.
function inParts(request, change) {
  if (isForm(request.type) && chance(0.6)) {
    return { ...request, body: Buffer.from(change(String(request.body).split('&')).join('&')) };
  }
  return withQuery(request, change(queryOf(request).split('&')).join('&'));
}

const atOne = (change) => (parts) => {
  const at = below(parts.length);
  return parts.with(at, change(parts[at]));
};

const added = (parts) => {
  const [name] = pick(parts).split('=');
  const more = pick([
    pick(parts), `${name}=${spelled(text(3))}`, pairText([text(3), text(3)]), '', '=',
    `CallSid=${pick(WRITTEN)}`, `AccountSid=${ACCOUNT}`, `bodySHA256=${hex(64)}`,
  ]);
  const at = below(parts.length + 1);
  return [...parts.slice(0, at), more, ...parts.slice(at)];
};

// Other spellings of the same, and of nearly the same. The query counts as it is spelled, a form does not.
const RESPELLINGS = [
  (part) => part.replace(/%[0-9a-f]{2}/gi, (code) => pick([code.toUpperCase(), code.toLowerCase()])),
  (part) => part.replace(/\+/, '%20'),
  (part) => part.replace(/%20/, '+'),
  (part) => part.replace(/%2b/i, '+'),
  (part) => part.replace(/[A-Za-z0-9]/, (char) => escaped(char.charCodeAt(0), true)),
  (part) => part.replace(/'/, '%27'),
  (part) => part.replace(/%27/, "'"),
  (part) => part.replace(/=$/, ''),
  (part) => (part.includes('=') ? part : `${part}=`),
  (part) => part.replace(/^([^=]*)=(.)/s, '$1$2='),
  (part) => part.replace(/(.)=/s, '=$1'),
];

const SIGNATURES = [
  (signature) => edited(signature, [...'AZaz09+/=']),
  (signature) => signature.slice(0, -1),
  (signature) => `${signature}=`,
  (signature) => signature.replace(/\+/g, '-').replace(/\//g, '_'),
  (signature) => signature.toLowerCase(),
  (signature) => `sha1=${signature}`,
  (signature) => `${signature},${signature}`,
  (signature) => Buffer.from(signature, 'base64').toString('hex'),
  // The last character before `=` has two bits that a lenient decoder drops.
  (signature) => {
    const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
    return `${signature.slice(0, 26)}${digits[digits.indexOf(signature[26]) ^ 1]}=`;
  },
];

const OTHER_URLS = [
  (url) => url.replace('https:', 'http:'),
  (url) => url.replace('https:', 'wss:'),
  (url) => url.replace(/\.com(:\d+)?/, pick(['.com:80', '.com:8080', '.com:443', '.com:8443', '.com'])),
  (url) => url.replace('.example.com', '.Example.com'),
  (url) => url.replace('https://', 'https://user:password@'),
  (url) => url.replace('/prefix', ''),
  (url) => url.replace('/twilio', '/prefix/twilio'),
  (url) => url.replace('/twilio', '//twilio'),
  (url) => url.replace(/\?|$/, '/$&'),
  (url) => url.replace(/\?.*/s, ''),
  (url) => `${url}#rc=3`,
  (url) => toggledPort(url),
];

const HOSTS = [...BASES.map(({ host }) => host), `${BASES[0].host}:443`, 'elsewhere.example.com'];

// One text for another wherever it is, with the body's new hash.
function replaced(request, from, to) {
  const body = Buffer.from(String(request.body).replaceAll(from, to));
  const target = request.target.replaceAll(from, to).replace(bodyHash(request.body), bodyHash(body));
  return { ...request, target, body };
}

const CHANGES = {
  'a character of the query': (r) => withQuery(r, edited(queryOf(r), IN_QUERY)),
  'a value': (r) => inParts(r, atOne((part) => part.replace(/=.*|$/s, () => `=${spelled(text(4))}`))),
  'a name': (r) => inParts(r, atOne((part) => part.replace(/^[^=]*/, () => spelled(text(3))))),
  'one more pair': (r) => inParts(r, added),
  'one pair less': (r) => inParts(r, (parts) => parts.toSpliced(below(parts.length), 1)),
  'the order': (r) => inParts(r, shuffled),
  'the spelling': (r) => inParts(r, atOne((part) => (
    shuffled(RESPELLINGS).map((respelled) => respelled(part)).find((other) => other !== part) ?? part))),
  'a byte of the body': (r) => {
    const body = Buffer.from(r.body);
    if (body.length > 0) body[below(body.length)] ^= 1 << below(8);
    return { ...r, body };
  },
  'the signature': (r) => ({ ...r, signatures: [pick(SIGNATURES)(r.signatures[0])] }),
  'the header': ({ signatures: [one], ...r }) => (
    { ...r, signatures: pick([[], [''], [one, one], [one, ''], ['', one], ['x', one]]) }),
  'the host': (r) => ({ ...r, host: pick([...HOSTS, r.host.toUpperCase()]) }),
  'the token': (r) => signed(r, undefined, pick([TOKENS[1], hex(32), `${TOKENS[0]}\n`, `${TOKENS[0]} `])),
  'the URL that is signed': (r) => signed(r, pick(OTHER_URLS)(r.base.url + r.target)),
  'the content type': (r) => ({ ...r, type: r.type && (isForm(r.type) ? JSON_TYPE : FORM) }),
  'the method': (r) => ({ ...r, method: 'GET', type: undefined, body: Buffer.alloc(0) }),
  'the account, and signed': (r) => signed(replaced(r, ACCOUNT, `AC${hex(32)}`)),
  "the account's name, and signed": (r) => signed(replaced(r, 'AccountSid', 'accountsid')),
  'a pair given again, and signed': (r) => (
    signed(inParts(r, (parts) => [...parts, pick([`CallSid=${pick(WRITTEN)}`, `AccountSid=${ACCOUNT}`])]))),
};

export function changed() {
  const kinds = Object.keys(CHANGES);
  for (;;) {
    const request = made();
    const change = pick(kinds);
    const other = CHANGES[change](request);
    const isOther = ['host', 'method', 'target', 'type'].some((part) => request[part] !== other[part])
      || !request.body.equals(other.body) || request.signatures.join('\n') !== other.signatures.join('\n');
    if (isOther && isSendable(other)) return { ...other, change };
  }
}

// The rest is answered by 400 before anybody looks at a signature.
const isSendable = ({ target }) => /^[!$-;=?-~]+$/.test(target);
