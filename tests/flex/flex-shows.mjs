// What an agent sees of a handoff.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { callSid, from } from '../browser/common.mjs';
import {
  DATA, NUMBER, assertShows, baton, erase, openFlex, outbound, task, twilio, write, writeText,
} from './flex-desk.mjs';

const HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>';

// What must never be found outside of the tab.
const SECRET = 'Kx7-secret-of-the-caller';

export const shown = { flex: await openFlex() };
const { flex } = shown;
const { page, tab } = flex;

async function showsItAll() {
  await flex.show(task(await write()));
  await flex.is('there');
  await assertShows(
    flex, DATA.name, NUMBER, 'Verified', DATA.handoff_reason, DATA.summary, 'billing', 'en-GB', 'Resent the invoice',
    'Checked the balance', 'order', 'A-1009', '41.20');
  assert.deepEqual(await page.locator('.Twilio-TabHeader').allInnerTexts(), ['Handoff', 'Call', 'Info']);
}

async function showsNumbersAsTheyWereWritten() {
  const id = await writeText('{"big":12345678901234567890123,"cents":1.10,"ok":false,"no":null,"blank":"","list":[]}');
  await flex.show(task(id));
  await assertShows(flex, '12345678901234567890123', '1.10', 'false', 'null', 'empty', '0 entries');
  // Nobody to name, and no reason: the page says so, and has no empty headings.
  await assertShows(flex, 'Unknown caller', 'Not known whether verified');
  assert.equal(await tab.getByText('Why they call').count(), 0);
  assert.equal(await tab.getByText('Already tried').count(), 0);
}

async function showsOutboundCalls() {
  await flex.show(outbound(await write()));
  await flex.is('there');
  await assertShows(flex, DATA.summary);
}

async function hasNoTabWithoutAnId() {
  await flex.show(task(undefined));
  await page.locator('.Twilio-TabHeader').first().waitFor();
  assert.deepEqual(await page.locator('.Twilio-TabHeader').allInnerTexts(), ['Call', 'Info']);
  await flex.show(task(undefined, { handoff_id: await write() }));
  await flex.is('there');
}

// --- What comes, changes and goes

async function waitsForWhatIsLate() {
  const id = callSid();
  await flex.show(task(id));
  await flex.is('looking');
  await assertShows(flex, 'Looking for the handoff of this call');
  await flex.is('none');
  await assertShows(flex, 'No handoff for this call so far');
  await write(id);
  await flex.is('there');
  await assertShows(flex, /^Arrived at .*, after you opened this task/, DATA.summary);
}

async function followsWhatChanges() {
  const id = await write();
  await flex.show(task(id));
  await flex.is('there');
  assert.equal(await tab.getByText(/Arrived|Updated/).count(), 0);
  for (const summary of ['Charged three times.', 'Charged four times.']) {
    await write(id, { ...DATA, summary });
    await assertShows(flex, summary, /^Updated at /);
  }
  assert.equal(await tab.getByText(DATA.summary).count(), 0);
}

async function showsNothingThatWasErased() {
  const id = await write();
  await flex.show(task(id));
  await assertShows(flex, DATA.summary);
  await erase(id);
  await flex.is('erased');
  await assertShows(flex, 'The handoff of this call was erased');
  assert.equal(await tab.getByText(DATA.name).count(), 0);
}

// It is written first of all, for Baton keeps nothing for less than a minute.
const shortLived = write(callSid(), DATA, { ttl_seconds: 60 });

async function saysWhatHasExpired() {
  const id = await shortLived;
  const ask = () => baton.api('GET', `/v1/handoff_state?id=${id}`, { headers: { 'x-api-key': baton.adminKey } });
  for (let tries = 0; (await ask()).status !== 404 && tries < 70; tries += 1) await sleep(1000);
  await flex.show(task(id));
  await flex.is('expired');
  await assertShows(flex, 'The handoff of this call has expired');
}

// The answer for the task before comes when another is on the screen.
async function showsNothingOfAnotherTask() {
  const [late, other] = [callSid(), await write(callSid(), { ...DATA, summary: 'Of the other one.' })];
  await flex.show(task(late));
  await flex.is('looking');
  const cancelled = page.waitForEvent('requestfailed', (request) => request.url().includes(late));
  await flex.show(task(other));
  await cancelled;
  await assertShows(flex, 'Of the other one.');
  await write(late);
  await sleep(1500);
  assert.equal(await tab.getByText(DATA.summary).count(), 0);
  await assertShows(flex, 'Of the other one.');
}

async function asksNoMoreOnceItIsClosed() {
  const id = await write();
  await flex.show(task(id));
  await flex.is('there');
  const asked = page.waitForRequest((request) => request.url().includes(`${id}&wait=8&min_revision=`));
  await asked;
  let more = 0;
  page.on('request', (request) => {
    if (request.url().includes(id)) more += 1;
  });
  await flex.show(undefined);
  await sleep(2500);
  assert.equal(more, 0);
}

// --- Of somebody else

async function hidesWhatIsOfAnotherCaller() {
  const id = await write();
  await flex.show(task(id, { from: '+15551234567', caller: '+15551234567' }));
  await flex.is('there');
  await assertShows(flex, 'This handoff may be of another caller', '+15551234567');
  assert.equal(await tab.getByText(DATA.summary).count(), 0);
  assert.equal(await tab.getByText(DATA.name).count(), 0);
  await tab.getByRole('button', { name: 'Show anyway' }).click();
  await assertShows(flex, DATA.summary);
  // Written anew of yet another, it is another question.
  await write(id, { ...DATA, phone: '+14155550100' });
  await assertShows(flex, 'This handoff may be of another caller', '+14155550100');
  assert.equal(await tab.getByText(DATA.summary).count(), 0);

  await flex.show(outbound(await write(), { outbound_to: '+15551234567' }));
  await assertShows(flex, 'This handoff may be of another caller');
  // The same number, written in another way; and callers without one.
  for (const number of ['01632 960000', '0044 (0)1632 960-000', 'anonymous', 'client:zoe', '+86']) {
    await flex.show(task(await write(), { from: number, caller: number }));
    await assertShows(flex, DATA.summary);
  }
}

// --- Whatever agents write

async function runsNothingThatWasWritten() {
  const names = [
    'name', 'phone', 'handoff_reason', 'summary', 'handoff_to', 'language', '__proto__', 'constructor', 'key', 'ref',
    'children', 'dangerouslySetInnerHTML',
  ];
  const data = Object.fromEntries(names.map((name) => [name, HOSTILE]));
  Object.assign(data, { tried: [HOSTILE], [HOSTILE]: { [HOSTILE]: [HOSTILE] } });
  await flex.show(task(await write(callSid(), data)));
  await flex.is('there');
  await sleep(500);
  assert.equal(await page.evaluate(() => window.pwned), undefined);
  assert.equal(await tab.locator('img, script').count(), 0);
  assert.ok(await tab.getByText(HOSTILE, { exact: true }).count() >= 18);
}

async function showsMuchOfItAtATime() {
  const lines = Array.from({ length: 19_000 }, (_, place) => `line ${place + 1}`);
  await flex.show(task(await write(callSid(), { lines, ...DATA }), {}));
  await flex.is('there');
  await tab.getByRole('button', { name: /lines/ }).click();
  await assertShows(flex, 'line 50');
  assert.equal(await tab.getByText('line 51', { exact: true }).count(), 0);
  await tab.getByRole('button', { name: 'Show 50 more of 18950' }).click();
  await assertShows(flex, 'line 100');
  assert.ok(await tab.locator('*').count() < 3000);
}

async function copies() {
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await flex.show(task(await write()));
  await tab.getByRole('button', { name: 'Copy phone number' }).click();
  await tab.getByRole('button', { name: 'Copied: phone number' }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), NUMBER);
  assert.equal(await tab.getByRole('status').innerText(), 'Copied: phone number');
}

// --- For everybody

async function assertAxe(where, what) {
  assert.deepEqual(await where.axe(), [], what);
}

async function isForEverybody() {
  for (const hash of ['', '#dark']) {
    const one = await openFlex({ hash });
    await one.show(task(await write(callSid(), { ...DATA, deep: { er: { still: [1] } }, status: 'failed' })));
    await one.is('there');
    await assertAxe(one, `there ${hash}`);
    await one.show(task(await write(), { from: '+15551234567' }));
    await assertShows(one, 'Show anyway');
    await assertAxe(one, `another caller ${hash}`);
    await one.show(task(callSid()));
    await one.is('looking');
    await assertAxe(one, `looking ${hash}`);
    await one.is('none');
    await assertAxe(one, `none ${hash}`);
    await one.signIn(twilio.user({ expiration: from(-60) }));
    await one.show(task(await write()));
    await one.is('refused');
    await assertAxe(one, `refused ${hash}`);
    await one.close();
  }
}

async function keepsNothing() {
  const quiet = await openFlex();
  await quiet.show(task(await write(callSid(), { ...DATA, summary: SECRET, [SECRET]: SECRET })));
  await assertShows(quiet, SECRET);
  await sleep(500);
  const kept = await quiet.page.evaluate(() => [
    desk.state(), JSON.stringify({ ...localStorage }), JSON.stringify({ ...sessionStorage }), document.cookie,
    location.href, document.title,
  ].join());
  assert.ok(!kept.includes(SECRET));
  assert.ok(!quiet.page.said.join().includes(SECRET));
  await quiet.close();
}

// React tells what is done wrong on the console; so does whatever nothing caught.
async function isQuiet() {
  assert.deepEqual(page.said.filter((text) => /^Warning/.test(text)), []);
  assert.deepEqual(page.errors, []);
}

export const checks = [
  ['a handoff is shown with who, why and what was tried, and then all of it', showsItAll],
  ['numbers are shown as they were written, and what is missing is not made up', showsNumbersAsTheyWereWritten],
  ['the task of an outbound call finds it by the customer\'s leg', showsOutboundCalls],
  ['a task without a call has no tab, one with a handoff id has', hasNoTabWithoutAnId],
  ['a handoff that comes late is waited for, and shown as late', waitsForWhatIsLate],
  ['a handoff that is written anew is shown anew', followsWhatChanges],
  ['a handoff that is erased goes from the screen', showsNothingThatWasErased],
  ['when the task changes, no answer for the one before is shown', showsNothingOfAnotherTask],
  ['when the task is closed, nothing is asked any more', asksNoMoreOnceItIsClosed],
  ['a handoff of another caller is hidden until the agent wants it', hidesWhatIsOfAnotherCaller],
  ['nothing that an agent wrote runs', runsNothingThatWasWritten],
  ['of 19 000 lines Flex is given 50 at a time', showsMuchOfItAtATime],
  ['values can be copied', copies],
  ['axe finds nothing, in light and dark, whatever is shown', isForEverybody],
  ['nothing of a handoff is kept or logged', keepsNothing],
  ['React and the page have nothing to complain of', isQuiet],
  ['a handoff that has expired is said to have', saysWhatHasExpired],
];
