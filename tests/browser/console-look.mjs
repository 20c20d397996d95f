// What the console looks like, and what it takes: the link to Twilio, hostile texts, people who see or hear it
// otherwise, small screens, a thousand calls.

import assert from 'node:assert/strict';
import { assertQuiet, callSid, hex } from './common.mjs';
import {
  SCREENSHOTS, assertEmpty, baton, looksRight, newConnector, newKey, operator, read, receipt, row, story, task,
  twilio, until, visitor, voice, write,
} from './console-common.mjs';

async function linksTwilio() {
  const { connector_id: id, connector_token: token } = await newConnector({ name: `Desk ${hex(8)}` });
  const { context, page } = await operator();
  const sent = [];
  page.on('request', (request) => sent.push(request));
  await page.click('#to-link');
  const fill = async (secret) => {
    await page.fill('#token', token);
    await page.fill('#account-sid', twilio.account);
    await page.fill('#auth-token', secret);
    await page.click('#save');
    assert.deepEqual([await page.inputValue('#token'), await page.inputValue('#auth-token')], ['', '']);
  };
  await fill(hex(32));
  await page.locator('#linked.bad').waitFor();
  assert.match(await page.locator('#linked').innerText(), /Twilio/);
  assert.ok(await page.locator('#verified').isHidden());
  await fill(twilio.authToken);
  await page.locator('#verified').waitFor();
  assert.match(await page.locator('#linked').innerText(), /is linked/);
  const points = await page.locator('#points li').allInnerTexts();
  assert.match(points.join('\n'),
    new RegExp(`fine\\s+Connector Token[^]*fine\\s+Twilio account\\s+.*${twilio.account}`));
  assert.match(points.join('\n'), /open\s+Last request of Twilio’s\s+.*\s+.*call the number/);
  assert.ok((await page.locator('#urls').innerText()).includes(`/twilio/voice/${id}`));

  const kept = await page.evaluate(() => JSON.stringify([
    { ...localStorage }, { ...sessionStorage }, location.href, document.documentElement.outerHTML, document.cookie,
    [...document.querySelectorAll('input')].map(({ value }) => value),
  ]));
  for (const secret of [token, twilio.authToken]) {
    assert.ok(!kept.includes(secret), 'the page keeps a secret');
    assert.ok(sent.every((request) => !request.url().includes(secret)), 'a secret is in a URL');
  }
  const links = sent.filter((request) => request.url().includes('/api/'));
  assert.equal(links.length, 3);
  for (const request of links) assert.equal((await request.allHeaders()).cookie, undefined);
  await assertQuiet(page);
  await context.close();
}

// By an API key and a SharedKey; and a token that is none.
async function linksByAnApiKey() {
  const { context, page } = await operator();
  await page.click('#to-link');
  await page.fill('#token', 'eyJ.no.token');
  await page.fill('#account-sid', twilio.account);
  await page.getByLabel('API key and SharedKey').check();
  assert.ok(await page.locator('#auth-token').isHidden());
  await page.fill('#key-sid', `SK${hex(32)}`);
  await page.fill('#key-secret', 'secret-1');
  await page.fill('#shared-id', 'webhooks_sharedkey_01jx2n7v9d');
  await page.fill('#shared-secret', 'secret-2');
  const [request] = await Promise.all([
    page.waitForRequest((one) => one.url().endsWith('/api/v1/connector/link')),
    page.click('#save'),
  ]);
  assert.deepEqual(Object.keys(request.postDataJSON()).sort(),
    ['account_sid', 'api_key_secret', 'api_key_sid', 'shared_keys']);
  await page.locator('#linked.bad').waitFor();
  for (const field of ['#token', '#key-secret', '#shared-secret']) assert.equal(await page.inputValue(field), '');
  // What was refused there has nothing to do with the session.
  assert.ok(await page.locator('#work').isVisible());
  await assertQuiet(page);
  await context.close();
}

const HOSTILE = [
  '<script>window.hit = 1</script>', '<img src=x onerror="window.hit = 2">', '"><svg onload=window.hit=3>',
  'javascript:window.hit=4', '\u202egnp.live\u202c \u2066\u200f', '{{constructor.constructor("window.hit=5")()}}',
  '</style><style>*{display:none}', '__proto__', '&lt;b&gt; &amp;',
];

async function showsHostileTextsAsText() {
  const name = `<img src=x onerror=window.hit=6> \u202e${hex(6)}`;
  const { connector_token: token } = await newConnector({ name });
  const id = await write(callSid(), {
    __proto__: null,
    name: HOSTILE[0],
    summary: HOSTILE.join(' '),
    reason: HOSTILE[1],
    tried: HOSTILE,
    ...Object.fromEntries(HOSTILE.map((text, index) => [`${text.slice(0, 40)} ${index}`, { [text]: [text] }])),
    ['__proto__']: { polluted: 'yes' },
  }, {}, { authorization: `Bearer ${token}` });
  await task(id, 'reservation.accepted', {
    ReservationSid: `WR${hex(32)}`, WorkerSid: `WK${hex(32)}`, WorkerName: HOSTILE[1],
  });
  const { context, page } = await operator();
  await row(page, id).waitFor({ timeout: 5_000 });
  assert.ok((await row(page, id).innerText()).includes('<img src=x onerror=window.hit=6>'));
  await story(page, id);
  await until('the worker is told', async () => (await page.locator('#events').innerText()).includes(HOSTILE[1]));
  await page.click('#handoff-show');
  await page.locator('#handoff dl').first().waitFor();
  // What is inside comes when it is opened.
  while (await page.locator('#handoff details:not([open])').count() > 0) {
    await page.locator('#handoff details:not([open]) > summary').first().click();
  }
  const text = await page.locator('#handoff').innerText();
  for (const one of HOSTILE.slice(0, 6)) assert.ok(text.includes(one), one);
  assert.match(text, /__proto__/);
  const found = await page.evaluate(() => ({
    hit: window.hit,
    polluted: {}.polluted,
    elements: document
      .querySelectorAll('img, iframe, object, embed, [onerror], [onload], #work :is(script, style)').length,
    links: [...document.links].filter(({ protocol }) => !['http:', 'https:'].includes(protocol)).length,
    loose: [...document.querySelectorAll('#work :not(:has(*))')]
      .filter((one) => one.textContent.includes('\u202e') && one.dir !== 'auto').length,
  }));
  assert.deepEqual(found, { hit: undefined, polluted: undefined, elements: 0, links: 0, loose: 0 });
  await assertQuiet(page);
  await context.close();
}

// A call to be looked at: early, taken, late on screen.
async function lateCall() {
  const id = callSid();
  await voice(id, '+447700900005');
  await read(id);
  await write(id, {
    name: 'Zoë O\'Brien', verified: true, reason: 'billing', summary: 'Invoice 17 is "wrong" שלום',
    tried: ['Resent the invoice', 'Checked the balance'], order: { sums: [12.5, 0, -3], note: '' },
  });
  const ago = Date.now() - 3_000;
  const of = {
    TaskSid: `WT${hex(32)}`, ReservationSid: `WR${hex(32)}`, WorkerSid: `WK${hex(32)}`, WorkerName: 'm.osei',
    Timestamp: String(Math.floor(ago / 1000)), TimestampMs: String(ago),
  };
  await task(id, 'reservation.accepted', of);
  await read(id);
  await receipt(id, { receipt: 'rendered', task_sid: of.TaskSid });
  return id;
}

async function looksRightToEveryone() {
  const id = await lateCall();
  for (const [name, options] of [
    ['light', { colorScheme: 'light' }],
    ['dark', { colorScheme: 'dark' }],
    ['360', { colorScheme: 'light', viewport: { width: 360, height: 740 } }],
    ['360-dark', { colorScheme: 'dark', viewport: { width: 360, height: 740 } }],
  ]) {
    const { context, page } = await visitor(options);
    await looksRight(page, `sign-in-${name}`);
    await page.fill('#key', baton.adminKey);
    await page.press('#key', 'Enter');
    await row(page, id).waitFor();
    await page.locator('#hour').evaluate((hour) => { hour.open = true; });
    await page.locator('#charts figure').nth(2).waitFor();
    await looksRight(page, `list-${name}`);
    await story(page, id);
    await page.click('#handoff-show');
    await page.locator('#handoff dl').first().waitFor();
    await page.locator('#story-title').scrollIntoViewIfNeeded();
    await looksRight(page, `story-${name}`);
    if (SCREENSHOTS && name === '360') {
      await page.screenshot({ path: `${SCREENSHOTS}/console-story-360-whole.png`, fullPage: true });
    }
    const { connector_token: token } = await newConnector({ name: `Desk ${hex(8)}` });
    await page.click('#to-link');
    await page.fill('#token', token);
    await page.fill('#account-sid', twilio.account);
    await page.fill('#auth-token', twilio.authToken);
    await page.click('#save');
    await page.locator('#verified').waitFor();
    await looksRight(page, `link-${name}`);
    await page.click('#sign-out');
    await assertEmpty(page, [id]);
    await context.close();
  }
}

// From the key to a story and back, without a mouse.
async function worksByKeyboard() {
  const id = await write();
  const { context, page } = await visitor();
  await page.keyboard.type(baton.adminKey);
  await page.keyboard.press('Enter');
  await row(page, id).waitFor();
  const focused = () => page.evaluate(() => {
    const { outlineStyle } = getComputedStyle(document.activeElement);
    return { text: document.activeElement.textContent, seen: outlineStyle !== 'none' };
  });
  let tabs = 0;
  while ((await focused()).text !== id) {
    await page.keyboard.press('Tab');
    tabs += 1;
    assert.ok(tabs < 40, 'the first row is not reached by Tab');
    assert.ok((await focused()).seen, `after ${tabs} tabs the focus is not to be seen`);
  }
  // While it has the focus, the whole id is there to read.
  const whole = await row(page, id).locator('a').evaluate((link) => link.getBoundingClientRect().width);
  await page.keyboard.press('ArrowDown');
  assert.notEqual((await focused()).text, id);
  const short = await row(page, id).locator('a').evaluate((link) => link.getBoundingClientRect().width);
  assert.ok(whole > 2 * short, `${whole} and ${short} wide`);
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Enter');
  await page.locator('#story-body').waitFor();
  assert.match((await focused()).text, new RegExp(`^Call ${id}`));
  await page.keyboard.press('Escape');
  await until('the focus is on the row again', async () => (await focused()).text === id);
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await until('the id is copied', async () => await page.evaluate(() => navigator.clipboard.readText()) === id);
  await assertQuiet(page);
  await context.close();
}

const THOUSAND = 1_000;
// The goal, which `tests/bench pages` holds to; a test only tells whether something is much too slow.
const SOON_MS = process.env.GOALS ? 500 : 3_000;

// From the navigation to the frame that shows so many calls.
async function msToRows(page, count) {
  await page.goto('about:blank');
  await page.goto(`${baton.url}/console#limit=${count}`, { waitUntil: 'commit' });
  return page.evaluate((rows) => new Promise((done) => {
    const look = () => {
      if (document.querySelectorAll('#rows .call').length < rows) requestAnimationFrame(look);
      else requestAnimationFrame(() => setTimeout(() => done(Math.round(performance.now()))));
    };
    look();
  }), count);
}

async function showsAThousandCalls() {
  const { key } = await newKey(['ops:read', 'handoff:read', 'handoff:write'], { account_id: 'thousand' });
  const headers = { 'x-api-key': key };
  for (let begun = 0; begun < THOUSAND; begun += 20) {
    await Promise.all(Array.from({ length: 20 }, async (_, index) => {
      const id = callSid();
      if (index % 4 === 0) await baton.api('GET', `/v1/handoff_state?id=${id}`, { headers });
      await write(id, { name: 'Ada' }, {}, headers);
      if (index % 2 === 0) await baton.api('GET', `/v1/handoff_state?id=${id}`, { headers });
      await baton.api('POST', `/v1/handoff_state/receipts?id=${id}`, { headers, body: { receipt: 'accepted' } });
      await baton.api('POST', `/v1/handoff_state/receipts?id=${id}`, { headers, body: { receipt: 'rendered' } });
    }));
  }
  const { context, page } = await operator((await newKey(['ops:read'], { account_id: 'thousand' })).key);
  // What else the machine does counts too, so there are up to three series.
  let median = Infinity;
  for (let series = 0; series < 3 && median > SOON_MS; series += 1) {
    const took = [];
    for (let round = 0; round < 5; round += 1) took.push(await msToRows(page, THOUSAND));
    took.sort((one, other) => one - other);
    [,, median] = took;
    console.log(`${THOUSAND} calls are on the page ${median} ms after the navigation (${took.join(', ')})`);
  }
  assert.ok(median <= SOON_MS);
  // At their end, too, the bar is in sight.
  await page.keyboard.press('End');
  await until('the last is in sight', () => page.evaluate(() => (
    document.querySelector('#rows .call:last-child').getBoundingClientRect().bottom <= innerHeight)));
  assert.ok(await page.evaluate(() => document.getElementById('bar').getBoundingClientRect().top >= 0));
  if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/console-thousand.png` });
  await assertQuiet(page);
  await context.close();
}

export const look = [
  ['Twilio is linked and verified, and no secret stays', linksTwilio],
  ['so it is by an API key; a refusal ends no session', linksByAnApiKey],
  ['hostile texts are texts', showsHostileTextsAsText],
  ['it all works by keyboard, and the focus is to be seen', worksByKeyboard],
  ['everyone can use it: light, dark, on 360 pixels', looksRightToEveryone],
  ['a thousand calls are there in half a second', showsAThousandCalls],
];
