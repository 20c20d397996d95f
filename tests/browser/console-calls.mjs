// The list of calls, and a call's story: what comes in, how it is found, what it tells.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { TEMP, assertQuiet, callSid, hex } from './common.mjs';
import {
  alias, baton, connector, newConnector, newKey, operator, read, receipt, row, story, task, until, voice,
  write,
} from './console-common.mjs';

const words = (locator) => locator.locator('.lane title').textContent();

async function comesInByItself() {
  const { context, page } = await operator();
  await page.evaluate(() => { window.stays = true; });
  const id = callSid();
  await read(id);
  await voice(id, '+447700900001');
  const began = Date.now();
  await write(id);
  await row(page, id).waitFor({ timeout: 5_000 });
  console.log(`a handoff is on the page ${Date.now() - began} ms after it was written`);
  await until('its picture tells all of it', async () => (
    /voice .*written \+.*by connector token/.test(await words(row(page, id)))));
  await receipt(id, { receipt: 'rendered' });
  await until('the picture goes on', async () => /on screen \+/.test(await words(row(page, id))), 5_000);
  assert.equal(await page.evaluate(() => window.stays), true, 'the page was loaded anew');
  // The same node, the same focus: the row was changed in its place.
  await row(page, id).evaluate((node) => { node.same = true; });
  await row(page, id).locator('a').focus();
  await receipt(id, { receipt: 'acknowledged' });
  const other = await write();
  await row(page, other).waitFor({ timeout: 5_000 });
  assert.equal(await page.evaluate(() => document.activeElement.closest('.call')?.same), true, 'the focus is lost');
  await assertQuiet(page);
  await context.close();
}

async function leavesTheReaderInPeace() {
  for (let calls = 0; calls < 60; calls += 1) await write();
  const { context, page } = await operator();
  await page.locator('#rows .call').nth(59).waitFor();
  const link = page.locator('#rows .call a').nth(50);
  await link.focus();
  await link.scrollIntoViewIfNeeded();
  const before = await page.evaluate(() => [scrollY, document.activeElement.textContent]);
  assert.ok(before[0] > 200);
  const fresh = [await write(), await write()];
  await page.locator('#fresh').getByText('2 new calls').waitFor({ timeout: 8_000 });
  assert.deepEqual(await page.evaluate(() => [scrollY, document.activeElement.textContent]), before);
  assert.equal(await row(page, fresh[0]).count(), 0);
  await page.click('#fresh');
  await row(page, fresh[1]).waitFor();
  assert.deepEqual(await page.locator('#rows .call a').evaluateAll((links) => (
    links.slice(0, 2).map(({ textContent }) => textContent))), fresh.reverse());
  assert.ok(await page.locator('#rows .call').first().isVisible());
  assert.ok(await page.locator('#fresh').isHidden());
  // While nothing is new, little is told; while nobody looks, nothing is asked.
  await page.waitForResponse((response) => response.url().includes('/console/calls') && response.status() === 304);
  const asks = [];
  page.on('request', (request) => asks.push(request.url()));
  const look = (hidden) => page.evaluate((isHidden) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => isHidden });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  await look(true);
  await sleep(2_500);
  asks.length = 0;
  await sleep(2_500);
  assert.deepEqual(asks, []);
  await look(false);
  await until('it asks again', () => asks.length > 0, 1_000);
  // Paused, it asks no more.
  await page.click('#pause');
  const unseen = await write();
  await sleep(3_000);
  assert.equal(await row(page, unseen).count(), 0);
  await page.click('#pause');
  await row(page, unseen).waitFor({ timeout: 5_000 });
  await assertQuiet(page);
  await context.close();
}

// One half of a second too early.
async function tellsTheLikelyCause() {
  const { context, page } = await operator();
  const id = callSid();
  assert.equal(await read(id), 404);
  await sleep(500);
  await write(id);
  await row(page, id).getByText('near miss').waitFor({ timeout: 5_000 });
  const cause = await row(page, id).locator('.cause').innerText();
  assert.match(cause, /0\.[4-9] s before .*wait=3/);
  assert.match(await words(row(page, id)), /missed .*written \+0\.[4-9] s/);
  await row(page, id).locator('a').press('Enter');
  await page.locator('#story-body').waitFor();
  assert.equal(new URL(page.url()).hash, `#call=${id}`);
  assert.match(await page.title(), new RegExp(id.slice(0, 10)));
  const [first] = await page.locator('#sentences p').allInnerTexts();
  assert.ok(first.includes(cause.trim()), first);
  assert.match(await page.locator('#picture title').textContent(), /missed .*written/);
  const events = await page.locator('#events tr').allInnerTexts();
  assert.match(events.join('\n'), /\+0\.000 s\s+Missed\s+key\s+admin\s+nothing was written yet/);
  assert.match(events.join('\n'), /\+0\.[4-9]\d\d s\s+Written\s+connector token\s+Front desk\s+14 bytes/);
  const shown = await page.locator('#story time').first();
  assert.match(await shown.getAttribute('title'), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC$/);
  assert.ok(Math.abs(Date.parse(await shown.getAttribute('datetime')) - Date.now()) < 60_000);
  // The keyboard gets back to the row, and so does the browser's own button.
  await page.keyboard.press('Escape');
  await page.locator('#story').waitFor({ state: 'hidden' });
  assert.equal(await page.evaluate(() => document.activeElement.textContent), id);
  await page.goForward();
  await page.locator('#story-body').waitFor();
  await page.goBack();
  await page.locator('#story').waitFor({ state: 'hidden' });
  await assertQuiet(page);
  await context.close();
}

async function tellsWhoTookTheCall() {
  const { context, page } = await operator();
  const id = callSid();
  const sid = `WT${hex(32)}`;
  const of = { TaskSid: sid, ReservationSid: `WR${hex(32)}`, WorkerSid: `WK${hex(32)}`, WorkerName: 'm.osei' };
  await voice(id, '+447700900002');
  await task(id, 'task.created', { TaskSid: sid });
  await task(id, 'reservation.accepted', of);
  await task(id, 'task.completed', { TaskSid: sid });
  await row(page, id).waitFor({ timeout: 5_000 });
  await story(page, id);
  await until('it is told who took it', async () => (
    /m\.osei/.test(await page.locator('#acceptances').innerText())));
  const links = await page.locator('#story-links a').evaluateAll((all) => (
    all.map(({ href, rel, target }) => [new URL(href).host, rel, target])));
  assert.ok(links.length >= 1);
  for (const [host, ...rest] of links) {
    assert.match(host, /^(www|console)\.twilio\.com$/);
    assert.deepEqual(rest, ['noopener noreferrer', '_blank']);
  }
  assert.ok((await page.locator('#story-links a').first().getAttribute('href')).includes(id));
  await assertQuiet(page);
  await context.close();
}

// Whoever calls from it has it, so it is nowhere in what the console is told.
const NUMBER = '+447700900987';

async function findsCalls() {
  const { context, page } = await operator();
  const told = [];
  page.on('response', (response) => {
    if (response.url().includes('/console/')) told.push(response.text().catch(() => ''));
  });
  const id = callSid();
  const sharedId = `five9-${hex(12)}`;
  const otherId = `conv-${hex(12)}`;
  const sid = `WT${hex(32)}`;
  await voice(id, NUMBER);
  await write(id, { name: 'Ada' }, { shared_id: sharedId });
  await alias(id, [otherId]);
  await task(id, 'task.created', { TaskSid: sid });
  const elsewhere = await write();
  for (const q of [id, otherId, sharedId, sid, NUMBER, '0044 (7700) 900-987', '+44 7700 900 987']) {
    await page.fill('#q', q);
    await Promise.all([
      page.waitForResponse((response) => new URL(response.url()).searchParams.get('q') === q),
      page.press('#q', 'Enter'),
    ]);
    await page.locator('#calls:not([aria-busy])').waitFor();
    await until(`${q} finds it`, async () => (
      await row(page, id).count() === 1 && await row(page, elsewhere).count() === 0));
    assert.ok(!decodeURIComponent(page.url()).includes(q), 'the search is in the address');
  }
  await page.fill('#q', callSid());
  await page.press('#q', 'Enter');
  await page.locator('#none').waitFor();
  await page.click('#clear-too');
  await row(page, elsewhere).waitFor();
  await story(page, id);
  for (const text of await Promise.all(told)) {
    assert.ok(!text.replace(/[^0-9]/g, '').includes(NUMBER.slice(3)), 'the number is told');
  }
  assert.ok(!(await page.content()).includes(NUMBER.slice(3)));
  assert.ok(!readFileSync(`${TEMP}/baton-stderr.log`, 'utf8').includes(NUMBER.slice(3)), 'the number is logged');
  await assertQuiet(page);
  await context.close();
}

async function filters() {
  const { context, page } = await operator();
  const night = await newConnector({ name: 'Night desk' });
  const plain = await write();
  const contained = await write(callSid(), { name: 'Ada', contained: true });
  const through = await write(callSid(), {}, {}, { authorization: `Bearer ${night.connector_token}` });
  const early = callSid();
  await read(early);
  await write(early);
  const blind = callSid();
  const sid = `WT${hex(32)}`;
  await voice(blind, '+447700900003');
  await task(blind, 'reservation.accepted', {
    TaskSid: sid, ReservationSid: `WR${hex(32)}`, WorkerSid: `WK${hex(32)}`, WorkerName: 'm.osei',
    TimestampMs: String(Date.now() - 60_000), Timestamp: String(Math.floor(Date.now() / 1000) - 60),
  });
  await task(blind, 'task.completed', { TaskSid: sid });
  const unsigned = callSid();
  const { status } = await baton.api('GET', `/twilio/studio/handoff/${connector.id}?id=${unsigned}`, {
    headers: { 'x-twilio-signature': Buffer.from(hex(40), 'hex').toString('base64') },
  });
  assert.equal(status, 401);
  const all = [plain, contained, through, early, blind, unsigned];
  const holds = async (name, value, ids) => {
    await page.selectOption(`#${name}`, value);
    await until(`${name} ${value}`, async () => {
      const found = await Promise.all(all.map(async (id) => await row(page, id).count() > 0));
      return all.every((id, index) => found[index] === ids.includes(id));
    });
    assert.match(page.url(), new RegExp(`#.*${name}=`));
    // A link to it shows the same.
    await page.reload();
    await row(page, ids[0]).waitFor();
    assert.equal(await page.inputValue(`#${name}`), value);
    await page.click('#clear');
    await row(page, plain).waitFor();
  };
  await holds('connector', night.connector_id, [through]);
  await holds('status', 'contained', [contained]);
  await holds('only', 'near_miss', [early]);
  await holds('only', 'connected_blind', [blind]);
  await holds('only', 'refused_signature', [unsigned]);
  await holds('range', '15m', all);
  await page.selectOption('#range', 'own');
  await page.fill('#to', '2020-01-01T00:00:00');
  await page.press('#to', 'Tab');
  await page.locator('#none').waitFor();
  await assertQuiet(page);
  await context.close();
}

async function loadsMore() {
  const { key } = await newKey(['ops:read', 'handoff:write'], { account_id: 'further' });
  const ids = [];
  for (let calls = 0; calls < 130; calls += 1) ids.push(await write(callSid(), {}, {}, { 'x-api-key': key }));
  const { context, page } = await operator((await newKey(['ops:read'], { account_id: 'further' })).key);
  await page.locator('#rows .call').nth(99).waitFor();
  assert.equal(await page.locator('#rows .call').count(), 100);
  await page.click('#more');
  await page.locator('#rows .call').nth(129).waitFor();
  const shown = await page.locator('#rows .call a').allTextContents();
  assert.deepEqual(shown, [...ids].reverse());
  assert.ok(await page.locator('#more').isHidden());
  // They stay, and what is new comes before them; there are as many as were asked for.
  await page.evaluate(() => scrollTo(0, 0));
  const fresh = await write(callSid(), {}, {}, { 'x-api-key': key });
  await row(page, fresh).waitFor({ timeout: 5_000 });
  await sleep(2_500);
  assert.deepEqual(await page.locator('#rows .call a').allTextContents(), [fresh, ...shown.slice(0, -1)]);
  await page.click('#more');
  await row(page, ids[0]).waitFor();
  await assertQuiet(page);
  await context.close();
}

async function showsAnyAccount() {
  const { key } = await newKey(['ops:read', 'handoff:write'], { account_id: 'acme' });
  const id = await write(callSid(), {}, {}, { 'x-api-key': key });
  const ours = await write();
  const { context, page } = await operator();
  await row(page, ours).waitFor();
  await page.fill('#account', 'acme');
  await page.press('#account', 'Enter');
  await row(page, id).waitFor();
  assert.equal(await row(page, ours).count(), 0);
  await page.goBack();
  await row(page, ours).waitFor();
  await context.close();
  // Who has no calls yet is told how to come by them.
  const nobody = await operator((await newKey(['ops:read'], { account_id: 'nobody' })).key);
  await nobody.page.locator('#first').waitFor();
  assert.match(await nobody.page.locator('#first').innerText(), /connector[^]*Link Twilio[^]*handoff/);
  await assertQuiet(nobody.page);
  await nobody.context.close();
}

// What the server has counted by itself, and what it says of it.
async function chartsTheLastHour() {
  const { context, page } = await operator();
  await page.locator('#charts figure').nth(2).waitFor();
  const told = await page.locator('#charts svg title').allTextContents();
  assert.match(told[0], /before (it was there|\d)|Nobody accepted/i);
  assert.match(told[1], /Reads that found nothing, by minute\. \d+ in the last hour/);
  assert.match(told[2], /half were answered within [\d.]+/);
  assert.match(await page.locator('#hour-note').innerText(), /this server alone.*since/);
  await assertQuiet(page);
  await context.close();
}

// Baton is away for a moment: the page says so, keeps what it has, and goes on.
async function outlivesAnOutage() {
  const { context, page } = await operator();
  const id = await write();
  await row(page, id).waitFor();
  await context.setOffline(true);
  await page.locator('#trouble').waitFor();
  assert.match(await page.locator('#trouble').innerText(), /does not answer.*may be old/);
  assert.equal(await row(page, id).count(), 1);
  await context.setOffline(false);
  await page.locator('#trouble').waitFor({ state: 'hidden', timeout: 20_000 });
  const after = await write();
  await row(page, after).waitFor({ timeout: 5_000 });
  await assertQuiet(page);
  await context.close();
}

export const calls = [
  ['a handoff comes in by itself, and goes on in its place', comesInByItself],
  ['who reads further down is left in peace', leavesTheReaderInPeace],
  ['a story names the likely cause', tellsTheLikelyCause],
  ['a story tells who took the call, and leads to Twilio', tellsWhoTookTheCall],
  ['a call is found by any of its ids, and by the caller\'s number, which is not told', findsCalls],
  ['filters filter, and stand in the address', filters],
  ['more is loaded, and stays', loadsMore],
  ['the admin key looks at any account; an empty one says what to do', showsAnyAccount],
  ['the last hour is charted, and in words', chartsTheLastHour],
  ['an outage is told, and over when it is over', outlivesAnOutage],
];
