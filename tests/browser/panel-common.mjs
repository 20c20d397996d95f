// What the checks of the panel share: Baton with a linked connector, pages that frame the panel, and a browser.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import {
  assertQuiet, axe, callSid, certificate, hex, launch, linkedConnector, listening, okay, pretendTwilio, startBaton,
  watched,
} from './common.mjs';

export const PROJECT = 'PROJECT-1a2b3c4d';
export const DATA = {
  name: 'Zoë O\'Brien',
  phone: '+44 1632 960961',
  verified: true,
  handoff_reason: 'BILLING_DISPUTE',
  summary: 'She was charged twice for invoice 17 and wants one of the payments back today.',
  destination: 'billing',
  language: 'en-GB',
  tried: ['Resent the invoice', 'Checked the balance'],
  order: {
    number: 17,
    paid: false,
    lines: [{ sku: 'A-1', title: 'שלום עולם' }, { sku: 'B-2', title: 'Blue chair' }],
  },
  note: 'calls from a train',
};

// --- Pages that frame the panel: they answer what it asks with what a check has told them to

function parent() {
  const asks = [];
  window.asks = asks;
  addEventListener('message', ({ data, source, origin }) => {
    asks.push({ data, origin });
    if (window.answer && data?.type === 'baton:ask') source.postMessage(window.answer, '*');
  });
}

const PARENT = `<!doctype html><html lang="en"><meta charset="utf-8"><title>parent</title>
<body><script>(${parent})()</script>`;

function servesParent(_, response) {
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
  response.end(PARENT);
}

const plainPort = await listening(createServer(servesParent));
const tlsPort = await listening(createTlsServer(certificate('flex.twilio.com'), servesParent));

export const FLEX = 'https://flex.twilio.com';
// One that the settings name, and one that nobody knows.
export const LISTED = `http://localhost:${plainPort}`;
export const UNLISTED = 'https://unlisted.example';

// --- Baton

export const twilio = await pretendTwilio();
export const baton = await startBaton({ env: { ...twilio.env, BATON_FRAME_ANCESTORS: LISTED } });
export const connector = await linkedConnector(baton, twilio, { project_id: PROJECT });

const at = (id, rest = '') => `/v1/handoff_state${rest}?id=${id}`;

export async function write(data = DATA, { id = callSid(), headers = connector.headers, ...rest } = {}) {
  okay(await baton.api('PUT', at(id), { headers, body: { data, ...rest } }));
  return id;
}

export const asAdmin = { 'x-api-key': baton.adminKey };

export async function erase(id) {
  const { status, body } = await baton.api('DELETE', at(id), { headers: asAdmin });
  assert.ok(status < 300, body);
}

// A view link, at the address that this programme knows.
export async function link(id) {
  const { url } = okay(await baton.api('POST', '/v1/view_links', { headers: connector.headers, body: { id } }));
  const { search, hash } = new URL(url);
  return `${baton.url}/panel${search}${hash}`;
}

// The receipts of `id` that Baton knows of, in order.
export async function receipts(id) {
  const { events } = okay(await baton.api('GET', at(id, '/timeline'), { headers: connector.headers }));
  return events.filter(({ event }) => event === 'receipt');
}

// --- The browser

const freed = createServer();
const debugPort = await listening(freed);
freed.close();
export const browser = await launch(
  [`--remote-debugging-port=${debugPort}`], { 'flex.twilio.com': tlsPort, 'unlisted.example': tlsPort });
console.log(`Baton ${baton.url}, its connector ${connector.id}, Chromium ${browser.version()}`);

const opened = [];

// A page of its own context.
export async function blank(options = {}) {
  const viewport = { width: 480, height: 800 };
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport, ...options });
  const page = await watched(context);
  opened.push(page);
  return page;
}

export async function open(url, options) {
  const page = await blank(options);
  await page.goto(url);
  return page;
}

// Two tabs of one window, as only a browser gives that nobody else drives: the one behind is really hidden.
export async function tabs() {
  const attached = await chromium.connectOverCDP(`http://127.0.0.1:${debugPort}`, { noDefaults: true });
  const [context] = attached.contexts();
  const [tab, other] = [await watched(context), await watched(context)];
  opened.push(tab, other);
  return { tab, other };
}

// The panel in a frame of `origin`, of which the page answers with what `answer` adds to an agent's token;
// null is a page that answers nothing.
export async function framed(id, answer = {}, { origin = FLEX, style = 'width:460px;height:700px', options } = {}) {
  const page = await open(`${origin}/`, options);
  await page.evaluate(([url, given, css]) => {
    window.answer = given;
    const frame = document.createElement('iframe');
    frame.style = css;
    frame.title = 'panel';
    frame.src = url;
    document.body.append(frame);
  }, [`${baton.url}/panel?id=${id}`, answer && tokenOf(answer), style]);
  const frame = page.frames().find((one) => one.parentFrame()) ?? await page.waitForEvent('frameattached');
  return { page, frame };
}

export const tokenOf = (rest = {}) => (
  { type: 'baton:token', token: twilio.user(), account_sid: twilio.account, ...rest });

// Each page that a check has opened had nothing to complain of.
export async function closeAll(keep = []) {
  const closing = opened.splice(0).filter((page) => !keep.includes(page));
  opened.push(...keep);
  try {
    for (const page of closing) if (!page.isClosed()) await assertQuiet(page);
  } finally {
    for (const page of closing) await page.close();
  }
}

// --- What is seen

export const SOON_MS = 5_000;

// Waits until `where`, a page or a frame, shows `text`.
export const shows = (where, text, timeout = SOON_MS) => where.getByText(text).first().waitFor({ timeout });

// The notice that stands in place of a handoff: its title, and that nothing of a handoff is in the page.
export async function tells(where, title, { button, timeout = SOON_MS } = {}) {
  await where.locator('#notice h1', { hasText: title }).waitFor({ timeout });
  assert.equal(await where.locator('article').count(), 0, 'the handoff is still there');
  const texts = await where.locator('#notice p').allInnerTexts();
  assert.ok(texts.slice(0, 2).join('').length > 10, `it does not say what to do: ${texts}`);
  if (button !== undefined) assert.equal(await where.locator('#again').isVisible(), button, 'the button');
  const text = await where.locator('body').innerText();
  for (const part of [DATA.name, DATA.note]) assert.ok(!text.includes(part), `'${part}' is still there`);
}

// Waits for what `look` gives to be `wanted`.
export async function becomes(look, wanted, timeout = SOON_MS) {
  const end = Date.now() + timeout;
  let seen = await look();
  while (JSON.stringify(seen) !== JSON.stringify(wanted) && Date.now() < end) {
    await sleep(100);
    seen = await look();
  }
  assert.deepEqual(seen, wanted);
}

// No horizontal scrolling at any width, and nothing for axe to find.
export async function assertInOrder(page) {
  assert.deepEqual(await axe(page), []);
  const [needed, there] = await page.evaluate(() => [document.scrollingElement.scrollWidth, innerWidth]);
  assert.ok(needed <= there, `${needed} pixels of ${there}`);
}

export async function snap(page, name) {
  const { SCREENSHOTS } = process.env;
  if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/panel-${name}.png`, fullPage: true });
}

export { callSid, hex, okay, sleep };
