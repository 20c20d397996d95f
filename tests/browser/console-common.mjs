// What the programmes of the console share: Baton with a connector that is linked, calls as Twilio tells of
// them, and an operator at a browser.
//
//   SCREENSHOTS   a directory for pictures of the console; none are taken without it

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  assertQuiet, axe, callSid, endsWithin, hex, launch, linkedConnector, okay, pretendTwilio, startBaton, watched,
} from './common.mjs';

endsWithin(8);

export const { SCREENSHOTS } = process.env;
export const twilio = await pretendTwilio();
export const baton = await startBaton({ env: twilio.env });

const ROUTES = {
  project_id: 'line',
  routing: { agent_url: 'wss://agent.example.com/stream' },
  flex: { workflow_sid: `WW${'a1'.repeat(16)}` },
};
export const connector = await linkedConnector(baton, twilio, { name: 'Front desk', ...ROUTES });
export const browser = await launch();
console.log(`Baton ${baton.url}, its connector ${connector.id}; Chromium ${browser.version()}`);

const asAdmin = { 'x-api-key': baton.adminKey };

// --- Keys, connectors, handoffs

export async function newKey(scopes, rest = {}) {
  return okay(await baton.api('POST', '/v1/keys', { headers: asAdmin, body: { scopes, label: 'console', ...rest } }));
}

export async function revoke(keyId) {
  const { status, body } = await baton.api('DELETE', `/v1/keys?id=${keyId}`, { headers: asAdmin });
  assert.equal(status, 204, body);
}

export async function newConnector(settings) {
  return okay(await baton.api('POST', '/api/v1/connector', {
    headers: asAdmin, body: { client_env: 'live', ...ROUTES, ...settings },
  }));
}

export async function write(id = callSid(), data = { name: 'Ada' }, rest = {}, headers = connector.headers) {
  okay(await baton.api('PUT', `/v1/handoff_state?id=${id}`, { headers, body: { data, ...rest } }));
  return id;
}

// Somebody reads it, whether or not it is there.
export async function read(id, query = '') {
  const { status } = await baton.api('GET', `/v1/handoff_state?id=${id}${query}`, { headers: asAdmin });
  return status;
}

export async function receipt(id, body) {
  okay(await baton.api('POST', `/v1/handoff_state/receipts?id=${id}`, { headers: asAdmin, body }));
}

export async function alias(id, aliases) {
  okay(await baton.api('POST', `/v1/handoff_state/aliases?id=${id}`, { headers: asAdmin, body: { aliases } }));
}

// --- What Twilio tells, signed as Twilio signs it

export async function webhook(path, params, token = twilio.authToken) {
  const url = `${baton.url}${path}`;
  const text = Object.keys(params).sort().reduce((whole, name) => whole + name + params[name], url);
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'x-twilio-signature': createHmac('sha1', token).update(text).digest('base64') },
    body: new URLSearchParams(params),
    signal: AbortSignal.timeout(15_000),
  });
  return { status: response.status, body: await response.text() };
}

export async function voice(id, caller, through = connector.id) {
  const { status, body } = await webhook(`/twilio/voice/${through}`, {
    AccountSid: twilio.account, CallSid: id, From: caller, To: '+15557654321', Direction: 'inbound',
    CallStatus: 'ringing',
  });
  assert.equal(status, 200, body);
}

export async function task(id, type, rest = {}) {
  const { status, body } = await webhook(`/twilio/taskrouter/${connector.id}`, {
    AccountSid: twilio.account, WorkspaceSid: `WS${hex(32)}`, EventType: type, TaskSid: `WT${hex(32)}`,
    TaskAttributes: JSON.stringify({ call_sid: id, handoff_id: id }),
    Timestamp: String(Math.floor(Date.now() / 1000)), TimestampMs: String(Date.now()), ...rest,
  });
  assert.equal(status, 204, body);
}

// --- The operator

// A browser of its own, which has no session yet.
export async function visitor(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await watched(context);
  await page.goto(`${baton.url}/console`);
  await page.locator('#key').waitFor();
  return { context, page };
}

export async function signIn(page, key = baton.adminKey) {
  await page.fill('#key', key);
  await page.press('#key', 'Enter');
  await page.locator('#calls-title').waitFor();
}

export async function operator(key, options) {
  const { context, page } = await visitor(options);
  await signIn(page, key);
  return { context, page };
}

export const row = (page, id) => page.locator(`#rows .call:has(a[href="#call=${id}"])`);

// Opens a call's story by its address, as a link in somebody's message does.
export async function story(page, id) {
  await page.evaluate((call) => { location.hash = `call=${call}`; }, id);
  await page.locator('#story-body').waitFor();
}

// What the page asks of the console, by a script of its own.
export const asked = (page, path, init) => page.evaluate(async ([target, rest]) => {
  const response = await fetch(target, rest);
  return { status: response.status, body: await response.text() };
}, [`/console/${path}`, init]);

export async function until(what, check, ms = 10_000) {
  const end = Date.now() + ms;
  for (;;) {
    if (await check()) return;
    assert.ok(Date.now() < end, `not within ${ms} ms: ${what}`);
    await sleep(50);
  }
}

// Nothing of any call is left in the page, nor in its address.
export async function assertEmpty(page, ids) {
  await page.locator('#sign-in').waitFor();
  const left = await page.evaluate(() => `${document.documentElement.outerHTML} ${location.href} ${document.title}`);
  for (const id of ids) assert.ok(!left.includes(id), `${id} is left`);
  assert.equal(await page.locator('#rows .call').count(), 0);
}

// The page as it should be: quiet, accessible, and no wider than the screen. A picture of it, if one is wanted.
export async function looksRight(page, name) {
  if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/console-${name}.png` });
  assert.deepEqual(await axe(page), [], name);
  const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= screen, `${name} is ${wide} wide on ${screen}`);
  await assertQuiet(page);
}
