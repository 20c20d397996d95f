// An agent's desk: a running Baton, a pretended Twilio that knows the agent's token, and Flex with the plugin on
// pages of an origin that Baton allows, and of one that it does not.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  axe, callSid, hex, launch, linkedConnector, listening, okay, pretendTwilio, startBaton, watched,
} from '../browser/common.mjs';
import { bundle, complaintsOfTypes, functionsOf, writePanelScript, writePlugin } from './flex-build.mjs';

export const NUMBER = '+441632960000';

export const DATA = {
  name: 'Zoë O\'Brien',
  phone: NUMBER,
  verified: true,
  handoff_reason: 'Invoice 17 is wrong',
  summary: 'Charged twice for May. Wants the second charge of £41.20 paid back to her card.',
  handoff_to: 'billing',
  language: 'en-GB',
  priority: 3,
  tried: ['Resent the invoice', 'Checked the balance'],
  order: { id: 'A-1009', sums: ['41.20', '41.20'] },
};

const PAGE = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Flex</title>
<style>html, body, #flex { height: 100%; margin: 0 }</style><body><div id="flex"></div>
<script>Twilio = { Flex: { Plugins: { init(given) { Plugin = given } } } }</script>
<script src="/page.js"></script>`;

let script = '';

// Flex, its script, and a page with nothing in it.
function servesFlex({ url }, response) {
  const isScript = url === '/page.js';
  response.writeHead(200, { 'content-type': `text/${isScript ? 'javascript' : 'html'}; charset=utf-8` });
  response.end(isScript ? script : url === '/' ? PAGE : '<!doctype html><title>empty</title>');
}

export const ORIGIN = `http://127.0.0.1:${await listening(createServer(servesFlex))}`;
export const OTHER_ORIGIN = `http://127.0.0.1:${await listening(createServer(servesFlex))}`;

export const twilio = await pretendTwilio();
export const baton = await startBaton({
  args: ['--cors-origins', ORIGIN, '--frame-ancestors', ORIGIN], env: twilio.env,
});
const { headers: asConnector } = await linkedConnector(baton, twilio, { project_id: 'PROJECT-1a2b3c4d' });
const asAdmin = { 'x-api-key': baton.adminKey };

// --- The plugin, for this Baton

const dir = writePlugin(baton.url);
const panel = writePanelScript(baton.url);
export const plugin = {
  complaints: complaintsOfTypes(dir),
  functionsOf: (name) => functionsOf(dir, name),
};
script = await bundle(dir, panel);

const browser = await launch();
export const version = browser.version();
const context = await browser.newContext({ viewport: { width: 520, height: 900 } });

export const quit = () => browser.close();

// --- Handoffs

export async function write(id = callSid(), data = DATA, rest = {}) {
  const body = { data, ...rest };
  okay(await baton.api('PUT', `/v1/handoff_state?id=${id}`, { headers: asConnector, body }));
  return id;
}

// The same, of a text that is JSON already.
export async function writeText(text) {
  const id = callSid();
  const response = await fetch(`${baton.url}/v1/handoff_state?id=${id}`, {
    method: 'PUT', headers: { ...asConnector, 'content-type': 'application/json' }, body: `{"data":${text}}`,
  });
  assert.equal(response.status, 201);
  return id;
}

export async function erase(id) {
  const { status, body } = await baton.api('DELETE', `/v1/handoff_state?id=${id}`, { headers: asAdmin });
  assert.ok(status < 300, body);
}

// The receipts of a handoff, once there are `count` of them: `[receipt, task SID, worker]`.
export async function receipts(id, count = 1) {
  let told = [];
  for (let tries = 0; tries < 100; tries += 1) {
    const answer = await baton.api('GET', `/v1/handoff_state/timeline?id=${id}`, { headers: asAdmin });
    if (answer.status === 200) told = JSON.parse(answer.body).events.filter(({ event }) => event === 'receipt');
    if (told.length >= count && count > 0) break;
    if (count === 0 && tries > 10) break;
    await sleep(100);
  }
  return told.map(({ receipt, task_sid: task, worker_sid: worker }) => [receipt, task, worker]);
}

// --- Tasks

// As TaskRouter makes them; `rest` changes the attributes.
export function task(id, rest = {}, more = {}) {
  return {
    sid: `WR${hex(32)}`,
    taskSid: `WT${hex(32)}`,
    status: 'accepted',
    taskChannelUniqueName: 'voice',
    channelType: 'voice',
    defaultFrom: NUMBER,
    formattedAttributes: {},
    source: {},
    dateCreated: new Date(),
    dateUpdated: new Date(),
    attributes: { call_sid: id, from: NUMBER, caller: NUMBER, to: '+15005550006', direction: 'inbound', ...rest },
    ...more,
  };
}

export const outbound = (id, rest = {}) => task(undefined, {
  from: '+15005550006', caller: '+15005550006', to: undefined, outbound_to: NUMBER, direction: 'outbound',
  conference: { sid: `CF${hex(32)}`, participants: { customer: id } }, ...rest,
});

// --- Flex

// Flex in a page of its own. `said` is all that the console was told.
export async function openFlex({ origin = ORIGIN, hash = '', token = twilio.user() } = {}) {
  const page = await watched(context);
  page.said = [];
  page.on('console', (message) => page.said.push(message.text()));
  await page.goto(`${origin}/${hash}`);
  await page.waitForFunction(() => window.desk);
  const flex = {
    page,
    tab: page.locator('[data-baton]'),
    signIn: (now, account = twilio.account) => page.evaluate((given) => desk.signIn(...given), [now, account]),
    show: (one) => page.evaluate((given) => desk.show(given), one),
    bringForward: (name) => page.locator('.Twilio-TabHeader', { hasText: name }).click(),
    has: (...tasks) => page.evaluate((given) => desk.has(...given), tasks),
    accept: (payload) => page.evaluate((given) => desk.accept(given), payload),
    is: (state) => page.locator(`[data-baton=${state}]`).waitFor({ timeout: 15_000 }),
    text: () => page.locator('[data-baton]').innerText(),
    // What axe finds in the tab; the rest of the page is Flex's.
    async axe() {
      const found = await axe(page);
      const isOurs = (at) => page.evaluate((selector) => (
        !!document.querySelector(selector)?.closest('[data-baton]')), at);
      for (const one of found) {
        const ours = await Promise.all(one.at.map(isOurs));
        one.at = one.at.filter((_, place) => ours[place]);
      }
      return found.filter(({ at }) => at.length > 0);
    },
    close: () => page.close(),
  };
  await flex.signIn(token);
  return flex;
}

// The tab's text has all of it.
export async function assertShows(flex, ...wanted) {
  for (const text of wanted) await flex.tab.getByText(text).first().waitFor({ timeout: 15_000 });
}
