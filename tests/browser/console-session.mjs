// Who gets into the console, what of it other pages get, and how it ends.

import assert from 'node:assert/strict';
import { createServer, request as httpRequest } from 'node:http';
import { assertQuiet, from, listening } from './common.mjs';
import {
  asked, assertEmpty, baton, newKey, operator, revoke, row, signIn, story, until, visitor, write,
} from './console-common.mjs';

const COOKIE = '__Host-baton_console';
const EIGHT_HOURS = 8 * 60 * 60;

// A request by hand, to which no browser's rules apply.
function byHand(method, path, headers) {
  return new Promise((done, failed) => {
    const asking = httpRequest(`${baton.url}${path}`, { method, headers, timeout: 15_000 }, async (response) => {
      const chunks = [];
      for await (const chunk of response) chunks.push(chunk);
      done({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() });
    });
    asking.on('timeout', () => asking.destroy(new Error(`no answer to ${path}`)));
    asking.on('error', failed);
    asking.end();
  });
}

const cookieOf = async (context) => (await context.cookies()).find(({ name }) => name === COOKIE);

async function refusesKeys() {
  const { context, page } = await visitor();
  const reader = await newKey(['handoff:read']);
  for (const [key, says] of [
    [`${baton.adminKey.slice(0, -2)}zz`, /key/i],
    ['btk_nothing', /key/i],
    ['ключ', /no key/],
    [reader.key, /ops:read/],
  ]) {
    await page.fill('#key', key);
    await page.press('#key', 'Enter');
    await until(`${key} is refused`, async () => says.test(await page.locator('#why').innerText()));
    assert.equal(await page.inputValue('#key'), '');
    assert.equal(await cookieOf(context), undefined);
  }
  assert.ok(await page.locator('#work').isHidden());
  await signIn(page, (await newKey(['ops:read'])).key);
  assert.ok(await page.locator('#account-form').isHidden(), 'a key of one account is asked for an account');
  await assertQuiet(page);
  await context.close();
}

async function keepsTheCookieClose() {
  const { context, page } = await operator();
  const cookie = await cookieOf(context);
  assert.ok(cookie, 'the browser took no cookie');
  const { domain, path, secure, httpOnly, sameSite, expires } = cookie;
  // A cookie with a Domain would have a dot before it.
  assert.deepEqual({ domain, path, secure, httpOnly, sameSite },
    { domain: '127.0.0.1', path: '/', secure: true, httpOnly: true, sameSite: 'Strict' });
  const left = expires - Date.now() / 1000;
  assert.ok(left > EIGHT_HOURS - 120 && left <= EIGHT_HOURS + 1, `it is kept ${left} s`);
  assert.equal(await page.evaluate(() => document.cookie), '');
  assert.ok(await page.locator('#account-form').isVisible(), 'who may look at any account is not asked which');

  const { headers } = await byHand('POST', '/console/session', {
    'x-api-key': baton.adminKey, 'sec-fetch-site': 'same-origin',
  });
  assert.equal(headers['set-cookie'].length, 1);
  assert.doesNotMatch(headers['set-cookie'][0], /domain/i);
  // It is known again, and the key is nowhere.
  await page.reload();
  await page.locator('#calls-title').waitFor();
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, location.href]));
  assert.ok(!kept.includes(baton.adminKey));
  await assertQuiet(page);
  await context.close();
}

const HTML = '<!doctype html><meta charset="utf-8"><title>other</title><body>';

// Pages of another port of this machine, and of another name of it: the first is of the same site, so that the
// browser sends it the cookie.
async function givesOtherPagesNothing() {
  const { context, page } = await operator();
  const id = await write();
  await row(page, id).waitFor();
  const before = await cookieOf(context);
  const port = await listening(createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    response.end(HTML);
  }));
  for (const origin of [`http://127.0.0.1:${port}`, `http://localhost:${port}`]) {
    const other = await context.newPage();
    await other.goto(origin);
    const answered = [];
    other.on('response', (response) => {
      if (response.url().startsWith(baton.url)) answered.push([response.request().method(), response.status()]);
    });
    const tries = [
      ['session', {}], ['calls', {}], ['calls', { mode: 'no-cors' }], ['hour', { mode: 'no-cors' }],
      [`call?id=${id}`, {}], [`handoff?id=${id}`, { mode: 'no-cors' }],
      ['session', { method: 'POST' }], ['session', { method: 'POST', mode: 'no-cors', body: baton.adminKey }],
      ['session', { method: 'POST', headers: { 'x-api-key': baton.adminKey } }],
      ['session', { method: 'DELETE' }],
    ];
    for (const [path, init] of tries) {
      const got = await other.evaluate(([url, rest]) => (
        fetch(url, { ...rest, credentials: 'include', signal: AbortSignal.timeout(15_000) })
          .then(async (response) => `${response.type}: ${await response.text()}`, ({ name }) => name)
      ), [`${baton.url}/console/${path}`, init]);
      assert.ok(['TypeError', 'opaque: '].includes(got), `${init.method ?? 'GET'} ${path} from ${origin}: ${got}`);
    }
    // A form takes the whole page along, and shows what comes.
    for (const [method, path] of [['post', 'session'], ['post', 'calls'], ['get', 'calls'], ['get', 'session']]) {
      await other.goto(origin);
      await Promise.all([
        other.waitForURL(`${baton.url}/console/${path}**`),
        other.evaluate(([how, action]) => {
          const form = Object.assign(document.createElement('form'), { method: how, action });
          document.body.append(form);
          form.submit();
        }, [method, `${baton.url}/console/${path}`]),
      ]);
      assert.ok(!(await other.content()).includes(id), `a form of ${origin} got calls`);
    }
    assert.ok(answered.length > 0);
    for (const [method, status] of answered) {
      assert.ok(status >= 400, `${method} from ${origin} was answered ${status}`);
    }
    await other.goto(origin);
    const framed = await other.evaluate((src) => new Promise((done) => {
      const frame = Object.assign(document.createElement('iframe'), { src });
      frame.onload = () => done(frame.contentDocument === null);
      document.body.append(frame);
    }), `${baton.url}/console`);
    assert.ok(framed);
    assert.equal(await other.frames()[1].locator('#main').count(), 0, 'the console stands in a frame');
    await other.close();
  }
  assert.equal((await cookieOf(context)).value, before.value);
  await page.reload();
  await row(page, id).waitFor();
  await context.close();
}

async function endsWithItsKey() {
  const { key, key_id: keyId } = await newKey(['ops:read', 'handoff:read']);
  const { context, page } = await operator(key);
  const id = await write();
  await row(page, id).waitFor();
  await story(page, id);
  await page.click('#handoff-show');
  await page.locator('#handoff dd').first().waitFor();
  await revoke(keyId);
  await page.locator('#sign-in').waitFor({ timeout: 5_000 });
  assert.match(await page.locator('#why').innerText(), /revoked/);
  await assertEmpty(page, [id, 'Ada']);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'key');
  const brief = await newKey(['ops:read'], { expires_at: from(4) });
  await signIn(page, brief.key);
  await row(page, id).waitFor();
  await page.locator('#sign-in').waitFor({ timeout: 10_000 });
  assert.match(await page.locator('#why').innerText(), /time.* is over/);
  await assertEmpty(page, [id]);
  // Nor does the way back lead to it.
  await page.goBack();
  await assertEmpty(page, ['Ada']);
  await assertQuiet(page);
  await context.close();
}

async function endsWhenSignedOut() {
  const { context, page } = await operator();
  const id = await write();
  await row(page, id).waitFor();
  const { name, value } = await cookieOf(context);
  const replayed = { cookie: `${name}=${value}`, 'sec-fetch-site': 'same-origin' };
  assert.equal((await byHand('GET', '/console/calls', replayed)).status, 200);
  await page.click('#sign-out');
  await assertEmpty(page, [id]);
  assert.equal(await cookieOf(context), undefined);
  const after = await byHand('GET', '/console/calls', replayed);
  assert.equal(after.status, 401, after.body);
  assert.equal((await asked(page, 'session')).status, 401);
  await page.reload();
  await page.locator('#key').waitFor();
  await assertQuiet(page);
  await context.close();
}

async function showsWhatTheKeyMaySee() {
  const id = await write();
  for (const [scopes, may] of [[['ops:read'], false], [['ops:read', 'handoff:read'], true]]) {
    const { context, page } = await operator((await newKey(scopes)).key);
    await story(page, id);
    assert.equal(await page.locator('#handoff-show').isVisible(), may);
    const { status, body } = await asked(page, `handoff?id=${id}`);
    assert.equal(status, may ? 200 : 403, body);
    assert.equal(body.includes('Ada'), may);
    if (!may) assert.match(body, /MISSING_SCOPE/);
    await assertQuiet(page);
    await context.close();
  }
}

export const session = [
  ['a key that is wrong, or lacks the scope, is told so', refusesKeys],
  ['the cookie is the browser\'s and this page\'s alone', keepsTheCookieClose],
  ['pages of other origins do nothing and get nothing', givesOtherPagesNothing],
  ['a key that is revoked ends the session and empties the page', endsWithItsKey],
  ['signing out ends the session on the server too', endsWhenSignedOut],
  ['what a handoff holds is for keys that may read it', showsWhatTheKeyMaySee],
];
