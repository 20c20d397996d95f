// What the programmes here share: a pretended Twilio, Baton itself, and a browser that finds nothing but this
// machine. `run` tells them:
//
//   BATON      the program
//   TEMP       an empty directory; `pids` in it names what is to be ended if the programme cannot
//   CHROMIUM   the browser, if it is not /usr/bin/chromium

import AxeBuilder from '@axe-core/playwright';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';

const { BATON, CHROMIUM = '/usr/bin/chromium' } = process.env;

// Where a programme keeps its files; it is removed afterwards.
export const { TEMP } = process.env;

// How long one answer may take.
export const TIMEOUT_MS = 15_000;

for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

// Ends a programme that hangs.
export function endsWithin(minutes) {
  setTimeout(() => {
    console.log(`not ok - it takes longer than ${minutes} minutes`);
    process.exit(1);
  }, minutes * 60_000).unref();
}

// So many random hexadecimal digits.
export const hex = (digits) => randomBytes(digits / 2).toString('hex');

// The SID of a call that nobody has heard of.
export const callSid = () => `CA${hex(32)}`;

// The time in so many seconds, as Twilio and Baton write it.
export const from = (seconds) => new Date(Date.now() + seconds * 1000).toISOString();

// Starts `server` on a free port of this machine, and says which.
export async function listening(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

// A key and a certificate for `host`, which only a browser that does not mind will take.
export function certificate(host) {
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${host}`,
    '-keyout', `${TEMP}/tls.key`, '-out', `${TEMP}/tls.pem`,
  ], { stdio: 'pipe' });
  return { key: readFileSync(`${TEMP}/tls.key`), cert: readFileSync(`${TEMP}/tls.pem`) };
}

// The JSON of an answer that grants what was asked.
export function okay({ status, body }) {
  assert.ok([200, 201].includes(status), body);
  return JSON.parse(body);
}

// --- Twilio

// One account at the REST API that confirms a link, and the one that knows Flex users' tokens. `asked` holds
// the tokens that were asked about; `env` makes Baton ask here.
export async function pretendTwilio() {
  const account = `AC${hex(32)}`;
  const authToken = hex(32);
  const worker = { identity: 'zoe_40example_2Ecom', worker_sid: `WK${hex(32)}` };
  const known = new Map();
  const asked = [];
  const notKnown = [200, { valid: false, code: 20404, message: 'Token is invalid' }];
  const part = (bytes) => randomBytes(bytes).toString('base64url');

  // A token of Flex's form, of which Twilio then says what `answer` is. It is opaque to everyone else.
  function token(answer) {
    const head = Buffer.from('{"alg":"RSA-OAEP","enc":"A256GCM"}').toString('base64url');
    const made = [head, part(256), part(12), part(400), part(16)].join('.');
    known.set(made, answer);
    return made;
  }

  // The token of an agent, unless `rest` says otherwise.
  const user = (rest = {}) => token([200, {
    valid: true, expiration: from(3600), roles: ['agent'], realm_user_id: 'unused', ...worker, ...rest,
  }]);

  const resources = {
    [`GET /2010-04-01/Accounts/${account}.json`]: ({ url: uri }) => (
      [200, { sid: account, friendly_name: 'Pretend', status: 'active', type: 'Full', uri }]),
    [`POST /v1/Accounts/${account}/Tokens/validate`]: (_, body) => {
      const { token: given } = JSON.parse(body);
      asked.push(given);
      return known.get(given) ?? notKnown;
    },
  };

  function answers(request, body) {
    const basic = Buffer.from(`${account}:${authToken}`).toString('base64');
    if (request.headers.authorization !== `Basic ${basic}`) {
      return [401, { code: 20003, message: 'Authenticate', status: 401 }];
    }
    const name = `${request.method} ${request.url}`;
    if (Object.hasOwn(resources, name)) return resources[name](request, body);
    return [404, { code: 20404, message: `The requested resource ${request.url} was not found`, status: 404 }];
  }

  const url = `http://127.0.0.1:${await listening(createServer(async (request, response) => {
    try {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const [status, body] = answers(request, Buffer.concat(chunks).toString());
      response.writeHead(status, { 'content-type': 'application/json;charset=utf-8' });
      response.end(JSON.stringify(body));
    } catch (error) {
      console.log(error.stack);
      response.destroy();
    }
  }))}`;
  const env = { BATON_TWILIO_API_URL: url, BATON_TWILIO_IAM_URL: url };
  return { url, env, account, authToken, worker, token, user, notKnown, asked };
}

// --- Baton

// A Baton with a data directory of its own; `name` tells several apart. `api` asks it from this programme, to
// which no browser's rules apply.
export async function startBaton({ args = [], env = {}, name = 'baton' } = {}) {
  const child = spawn(BATON, ['serve', '--listen', '127.0.0.1:0', ...args], {
    env: { ...process.env, BATON_DATA_DIR: `${TEMP}/${name}`, BATON_DRAIN_SECONDS: '0', ...env },
    stdio: ['ignore', 'pipe', openSync(`${TEMP}/${name}-stderr.log`, 'w')],
  });
  process.on('exit', () => child.kill());
  // Without it there is nothing to kill, and 'exit' comes next.
  child.on('error', (error) => console.log(error.message));
  if (child.pid) appendFileSync(`${TEMP}/pids`, `${child.pid}\n`);
  const ends = once(child, 'close').then(() => {
    throw new Error(`${name} ended`);
  });
  ends.catch(() => {});

  const firstLine = once(createInterface(child.stdout), 'line');
  const [line] = await Promise.race([firstLine, ends, sleep(TIMEOUT_MS, [], { ref: false })]);
  const [, url] = /^Baton listens on (http:\/\/127\.0\.0\.1:\d+)$/.exec(line) ?? [];
  assert.ok(url, `Baton did not tell where it listens: '${line}'`);

  async function api(method, target, { headers = {}, body } = {}) {
    const response = await fetch(`${url}${target}`, {
      method,
      headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() };
  }

  async function stop() {
    child.kill();
    await Promise.race([ends.catch(() => {}), sleep(5_000)]);
  }

  return { url, adminKey: readFileSync(`${TEMP}/${name}/admin.key`, 'utf8').trim(), api, stop };
}

// A connector, linked to the pretended account as the add-on does it. `headers` speak for it.
export async function linkedConnector(baton, twilio, settings = {}) {
  const { connector_id: id, connector_token: token } = okay(await baton.api('POST', '/api/v1/connector', {
    headers: { 'x-api-key': baton.adminKey },
    body: { name: 'Front desk', client_env: 'live', ...settings },
  }));
  const headers = { authorization: `Bearer ${token}` };
  const { link } = okay(await baton.api('POST', '/api/v1/connector/link', {
    headers, body: { account_sid: twilio.account, auth_token: twilio.authToken },
  }));
  assert.deepEqual([link.account_sid, link.state], [twilio.account, 'verified']);
  return { id, token, headers };
}

// --- The browser

// It finds nothing but this machine; `hosts` says at which ports of it other names are found.
export function launch(extraArgs = [], hosts = {}) {
  const rules = Object.entries(hosts).map(([host, port]) => `MAP ${host} 127.0.0.1:${port}`);
  rules.push('MAP * ~NOTFOUND', 'EXCLUDE 127.0.0.1', 'EXCLUDE localhost');
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
      `--host-resolver-rules=${rules.join(', ')}`, ...extraArgs,
    ],
  });
}

// A page that keeps what should never happen in it, or in its frames: `violations` of its content security
// policy, and `errors` that nothing caught.
export async function watched(context) {
  const page = await context.newPage();
  page.violations = [];
  page.errors = [];
  await page.addInitScript(() => addEventListener('securitypolicyviolation', (event) => {
    const { effectiveDirective, blockedURI, sample, sourceFile, lineNumber } = event;
    console.error(`Content Security Policy: ${effectiveDirective} ${blockedURI} ${sample} ${sourceFile}:${lineNumber}`);
  }));
  page.on('console', (message) => {
    if (/content.security.policy|trusted.?types/i.test(message.text())) page.violations.push(message.text());
  });
  page.on('pageerror', (error) => page.errors.push(error.stack ?? String(error)));
  return page;
}

// Nothing of that has happened. One question to the page, and what it had to say before has come.
export async function assertQuiet(page) {
  await page.evaluate(() => 0);
  assert.deepEqual({ violations: page.violations, errors: page.errors }, { violations: [], errors: [] });
}

// What axe finds wrong with the page as it is, and where.
export async function axe(page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations.map(({ id, help, nodes }) => ({ id, help, at: nodes.map(({ target }) => target.join(' ')) }));
}
