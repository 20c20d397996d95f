// What the panel says while there is nothing to show, or no more; and what it then does.

import assert from 'node:assert/strict';
import {
  asAdmin, assertInOrder, baton, blank, callSid, DATA, erase, framed, hex, link, open, PROJECT,
  shows, sleep, snap, tells, tokenOf, twilio, write,
} from './panel-common.mjs';

const SCHEMES = ['light', 'dark'];
const article = (where) => where.locator('article');
const refusal = (status, error_code, headers = {}) => ({
  status, headers, contentType: 'application/json',
  body: JSON.stringify({ success: false, error: '', error_id: 'an-id', error_code, error_message: '', data: null }),
});

async function saysHowToOpenIt() {
  for (const colorScheme of SCHEMES) {
    const page = await open(`${baton.url}/panel?id=${await write()}`, { colorScheme });
    await tells(page, 'Open this page from a link', { button: false });
    await assertInOrder(page);
    await snap(page, `how-${colorScheme}`);
    await page.goto(`${baton.url}/panel`);
    await tells(page, 'This address names no call', { button: false });
    await page.goto(`${baton.url}/panel?id=undefined#view=a.b.c`);
    await tells(page, 'This link opens nothing', { button: false });
  }
  const { frame } = await framed('undefined');
  await tells(frame, 'This address names no call', { button: false });
}

// --- Links that open nothing

async function saysWhatIsWrongWithALink() {
  const id = await write();
  const good = await link(id);
  // One letter is another.
  const tampered = good.replace(/.(?=.{5}$)/, (letter) => (letter === 'A' ? 'B' : 'A'));
  const page = await open(tampered);
  await tells(page, 'This link opens nothing', { button: false });
  await assertInOrder(page);
  await snap(page, 'link-bad');
  assert.ok(!page.url().includes('view='));
  await page.reload();
  await tells(page, 'Open this page from a link');

  const other = await open(good.replace(id, await write()));
  await tells(other, 'This link is for another call');
  await assertInOrder(other);

  // A link lives a minute at least: this answer is pretended.
  const old = await blank();
  await old.route('**/v1/handoff_state/view?*', (route) => route.fulfill(refusal(401, 'TOKEN_EXPIRED')));
  await old.goto(good);
  await tells(old, 'This link has expired', { button: false });
  await assertInOrder(old);
  await snap(old, 'link-old');
}

// --- Handoffs that are not there

async function waitsForALateOne() {
  const id = callSid();
  for (const [colorScheme, isLast] of [['light', false], ['dark', true]]) {
    const { page, frame } = await framed(id, {}, { options: { colorScheme } });
    await tells(frame, 'Waiting for the handoff', { button: false });
    await shows(frame, 'Looking for 2 s');
    await assertInOrder(page);
    await snap(page, `waiting-${colorScheme}`);
    if (!isLast) continue;
    await write(DATA, { id });
    const writtenAt = Date.now();
    await article(frame).waitFor();
    assert.ok(Date.now() - writtenAt < 1000, `${Date.now() - writtenAt} ms after it was written`);
  }
}

// What lasts a minute goes on beside the other checks: nothing is ever written for one call, and what is
// written for the other lives for a minute. Each is looked at from now on, for how long it lasts.
export async function beginWhatLasts() {
  const startedAt = Date.now();
  const seconds = (where, title) => where.locator('#notice h1', { hasText: title }).waitFor({ timeout: 90_000 })
    .then(() => (Date.now() - startedAt) / 1000, () => Infinity);
  const expiring = await open(await link(await write(DATA, { ttl_seconds: 60 })));
  await article(expiring).waitFor();
  const late = await framed(callSid());
  return {
    pages: [late.page, expiring],
    late,
    expiring,
    missedAfter: seconds(late.frame, 'No handoff for this call'),
    expiredAfter: seconds(expiring, 'This handoff has expired'),
  };
}

const misses = ({ late, missedAfter }) => async () => {
  const seconds = await missedAfter;
  assert.ok(seconds > 59 && seconds < 72, `${seconds}`);
  await tells(late.frame, 'No handoff for this call', { button: true });
  await assertInOrder(late.page);
  await snap(late.page, 'missed');
  await late.frame.locator('#again').click();
  await tells(late.frame, 'Waiting for the handoff', { button: false });
};

const expires = ({ expiring, expiredAfter }) => async () => {
  const seconds = await expiredAfter;
  assert.ok(seconds > 59 && seconds < 63, `${seconds}`);
  await tells(expiring, 'This handoff has expired', { button: true });
  await assertInOrder(expiring);
  await snap(expiring, 'expired');
};

async function isClearedWhenErased() {
  const id = await write();
  const page = await open(await link(id));
  await article(page).waitFor();
  await sleep(1500);
  await erase(id);
  await tells(page, 'This handoff was erased', { button: true, timeout: 2000 });
  await assertInOrder(page);
  await snap(page, 'erased');
  // Written anew, it is shown anew.
  await write({ name: 'Somebody new' }, { id });
  await page.locator('#again').click();
  await shows(page, 'Somebody new');
}

async function saysWhereElseItIs() {
  const elsewhere = await write(DATA, { headers: asAdmin, project_id: `ELSEWHERE-${hex(8)}` });
  const { page, frame } = await framed(elsewhere);
  await tells(frame, 'This handoff belongs to another project', { button: true });
  await assertInOrder(page);
  await snap(page, 'elsewhere');
  const { status, body } = await baton.api('POST', '/api/v1/connector', {
    headers: asAdmin, body: { name: 'Trial', project_id: PROJECT, client_env: 'sandbox' },
  });
  assert.equal(status, 201, body);
  const sandbox = { authorization: `Bearer ${JSON.parse(body).connector_token}` };
  const trial = await write(DATA, { headers: sandbox });
  const other = await framed(trial);
  await tells(other.frame, 'This handoff belongs to another environment', { button: true });
}

// --- Who may not

async function saysWhoMayNot() {
  const id = await write();
  const told = [
    [{ token: twilio.user({ roles: ['wfo.data_auditor'] }) }, 'Your Flex role may not see handoffs'],
    [{ account_sid: `AC${hex(32)}` }, 'This Flex account is not linked'],
    [{ token: twilio.token(twilio.notKnown) }, 'Baton does not accept your Flex session'],
  ];
  for (const [answer, title] of told) {
    const { page, frame } = await framed(id, answer);
    await tells(frame, title, { button: true });
    await assertInOrder(page);
    await snap(page, title.replaceAll(' ', '-').toLowerCase());
    // As soon as Flex says otherwise, it is there.
    await page.evaluate((given) => { window.answer = given; }, tokenOf());
    await sleep(300);
    if (await frame.locator('#again').isVisible()) await frame.locator('#again').click();
    await article(frame).waitFor();
  }
}

async function waitsForFlex() {
  const id = await write();
  const { page, frame } = await framed(id, null);
  await tells(frame, 'Waiting for Flex', { button: false });
  assert.ok(!(await frame.locator('body').innerText()).includes('administrator'));
  await shows(frame, 'An administrator checks', 8000);
  await assertInOrder(page);
  await snap(page, 'waiting-for-flex');
  assert.ok(await page.evaluate(() => window.asks.length > 2));
  await page.evaluate((given) => { window.answer = given; }, tokenOf());
  await article(frame).waitFor();
  const { data, origin } = await page.evaluate(() => window.asks[0]);
  assert.deepEqual([data, origin], [{ type: 'baton:ask', id }, baton.url]);
}

// --- Nobody answers

// Refusals that cannot be made at will are pretended; the pauses between requests are measured.
async function isPatient() {
  const id = await write();
  const busy = [[503, 'OVERLOADED', 'Baton is busy'], [429, 'RATE_LIMITED', 'Too much was asked']];
  for (const [status, name, told] of busy) {
    const page = await blank();
    const times = [];
    await page.route('**/v1/handoff_state/view?*', (route) => {
      times.push(Date.now());
      return times.length > 2 ? route.continue() : route.fulfill(refusal(status, name, { 'retry-after': '2' }));
    });
    await page.goto(await link(id));
    await tells(page, 'Baton cannot be asked just now', { button: true });
    await shows(page, told);
    await shows(page, 'Trying again');
    await assertInOrder(page);
    await snap(page, `busy-${status}`);
    // Not even who is impatient makes it ask sooner.
    for (let clicks = 0; clicks < 3; clicks += 1) await page.locator('#again').click({ timeout: 500 }).catch(() => {});
    await article(page).waitFor({ timeout: 10_000 });
    const pauses = [times[1] - times[0], times[2] - times[1]];
    assert.ok(pauses.every((pause) => pause >= 2000 && pause < 5000), `${pauses}`);
  }
}

async function waitsForTwilio() {
  const { frame } = await framed(await write(), { token: twilio.token([500, { message: 'Internal' }]) });
  await tells(frame, 'Baton cannot be asked just now', { button: true });
  await shows(frame, 'Twilio cannot say just now who you are');
}

async function staysWhileTheNetworkIsGone() {
  const id = await write();
  const page = await open(await link(id));
  await article(page).waitFor();
  // What is held already is answered all the same.
  await page.route('**/v1/**', (route) => route.abort());
  await page.context().setOffline(true);
  await shows(page, 'There is no network. What you see is', 12_000);
  await shows(page, 'old. Trying again');
  await shows(page, DATA.note);
  await assertInOrder(page);
  await snap(page, 'offline');
  await write({ ...DATA, note: 'back again' }, { id });
  await page.unroute('**/v1/**');
  await page.context().setOffline(false);
  await shows(page, 'back again');
  await shows(page, 'Updated just now');

  const never = await blank();
  await never.route('**/v1/**', (route) => route.abort());
  await never.goto(await link(id));
  await tells(never, 'Baton cannot be asked just now', { button: true });
  await shows(never, 'Baton does not answer');
}

export const checks = [
  ['opened without leave, or for no call, it says how to open it', saysHowToOpenIt],
  ['a link that opens nothing says why', saysWhatIsWrongWithALink],
  ['it waits for a handoff that is late, and shows it as soon as it is written', waitsForALateOne],
  ['what is erased is gone at once', isClearedWhenErased],
  ['it says that a handoff is another project\'s or another environment\'s', saysWhereElseItIs],
  ['it says who may not see it, and lets them as soon as they may', saysWhoMayNot],
  ['it waits for Flex, and says then what to look at', waitsForFlex],
  ['when Baton is busy it comes back as late as it is asked to', isPatient],
  ['when Twilio cannot say who it is, it says so', waitsForTwilio],
  ['without a network it keeps what it has, and says how old it is', staysWhileTheNetworkIsGone],
];

export const lasting = (begun) => [
  ['after a minute it says that there is no handoff, and looks again when told to', misses(begun)],
  ['what expires is gone at once', expires(begun)],
];
