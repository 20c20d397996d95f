// The panel in the page around it: whom it believes, and when it says that it was seen.

import assert from 'node:assert/strict';
import {
  assertInOrder, baton, becomes, blank, DATA, framed, FLEX, hex, link, LISTED, receipts, shows, sleep,
  snap, tabs, tells, tokenOf, twilio, UNLISTED, write,
} from './panel-common.mjs';

const article = (where) => where.locator('article');
const names = async (id) => (await receipts(id)).map(({ receipt }) => receipt);
const QUIET_MS = 1500;

// --- Whom it believes

async function standsInFlex() {
  for (const origin of [FLEX, LISTED]) {
    const id = await write();
    const task = `WT${hex(32)}`;
    const { page, frame } = await framed(id, { task_sid: task, caller: '+441632960961' }, { origin });
    await shows(frame, DATA.note);
    await assertInOrder(page);
    await becomes(async () => (await receipts(id)).map(({ receipt, door, worker_sid: worker, task_sid: of }) => (
      [receipt, door, worker, of])), [['rendered', 'flex_user', twilio.worker.worker_sid, task]]);
    assert.equal(await frame.evaluate(() => document.querySelector('#mismatch').hidden), true);
  }
}

async function standsNowhereElse() {
  const id = await write();
  for (const origin of [UNLISTED, baton.url.replace('127.0.0.1', 'localhost')]) {
    const page = await blank();
    const refused = page.waitForEvent('console', (message) => /frame-ancestors/.test(message.text()));
    await page.goto(origin === UNLISTED ? `${origin}/` : `${origin}/livez`);
    await page.evaluate((url) => {
      const frame = document.createElement('iframe');
      frame.src = url;
      document.body.append(frame);
    }, `${baton.url}/panel?id=${id}`);
    await refused;
    page.violations.length = 0;
    const [, frame] = page.frames();
    assert.equal(await article(frame).count(), 0);
  }
}

// Were it framed all the same, as by a browser that does not know of frame-ancestors, it would not listen. So
// it is served here without that policy.
async function believesNobodyElse() {
  const id = await write();
  const bare = async (route) => {
    const answer = await route.fetch();
    const headers = { ...answer.headers() };
    const policy = headers['content-security-policy'];
    headers['content-security-policy'] = policy.replace(/frame-ancestors[^;]*;?/, '');
    assert.notEqual(headers['content-security-policy'], policy);
    await route.fulfill({ response: answer, headers });
  };
  const page = await blank();
  await page.route('**/panel?*', bare);
  await page.goto(`${UNLISTED}/`);
  const frame = await frameIn(page, `${baton.url}/panel?id=${id}`, tokenOf());
  await tells(frame, 'Waiting for Flex');
  await becomes(() => page.evaluate(() => window.asks.length > 1), true);
  await sleep(QUIET_MS);
  assert.equal(await article(frame).count(), 0);
  assert.deepEqual(await names(id), []);

  // Nor does it listen to anybody but the page around it, of whatever origin.
  const listed = await blank();
  await listed.goto(`${LISTED}/`);
  const panel = await frameIn(listed, `${baton.url}/panel?id=${id}`, null);
  const beside = await frameIn(listed, `${LISTED}/`, null, 1);
  await beside.evaluate((given) => window.parent.frames[0].postMessage(given, '*'), tokenOf());
  for (const bad of [{ type: 'other' }, { token: '' }, { token: ['a'] }, { token: 'a b' }, { account_sid: 'AC1' }]) {
    await listed.evaluate((given) => window.frames[0].postMessage(given, '*'), tokenOf(bad));
  }
  for (const bad of [null, 'baton:token', 7, []]) {
    await listed.evaluate((given) => window.frames[0].postMessage(given, '*'), bad);
  }
  await sleep(QUIET_MS);
  assert.equal(await article(panel).count(), 0);
  await listed.evaluate((given) => window.frames[0].postMessage(given, '*'), tokenOf());
  await article(panel).waitFor();
}

async function frameIn(page, url, answer, place = 0) {
  const [frame] = await Promise.all([
    page.waitForEvent('frameattached'),
    page.evaluate(([src, given]) => {
      if (given) window.answer = given;
      const element = document.createElement('iframe');
      element.src = src;
      element.style = 'width:400px;height:300px';
      document.body.append(element);
    }, [url, answer]),
  ]);
  await page.locator('iframe').nth(place).waitFor();
  await frame.waitForLoadState();
  return frame;
}

// A token of half a minute ago is asked for again, and so is one that is refused.
async function asksForNewTokens() {
  const id = await write();
  const { page, frame } = await framed(id, { token: twilio.token(twilio.notKnown) });
  await becomes(() => page.evaluate(() => window.asks.length > 1), true);
  await page.evaluate((given) => { window.answer = given; }, tokenOf());
  await article(frame).waitFor();
}

// --- Whose it is

async function warnsOfAnotherCaller() {
  const numbers = ['+44 (0)1632 960961', '01632 960961', '1632960961', '00441632960961'];
  const same = [...numbers, 'anonymous', 'sip:441111111@x', '', '12'];
  for (const caller of same) {
    const { frame } = await framed(await write(), { caller });
    await article(frame).waitFor();
    await sleep(100);
    assert.ok(await article(frame).isVisible(), `warned of ${caller}`);
  }
  for (const colorScheme of ['light', 'dark']) {
    const id = await write();
    const { page, frame } = await framed(id, { caller: '+44 1632 960962' }, { options: { colorScheme } });
    await frame.locator('#mismatch').waitFor();
    const text = await frame.locator('body').innerText();
    for (const part of [DATA.name, DATA.summary, DATA.note]) assert.ok(!text.includes(part), part);
    for (const part of [DATA.phone, '+44 1632 960962']) assert.ok(text.includes(part), part);
    await assertInOrder(page);
    await snap(page, `mismatch-${colorScheme}`);
    await sleep(QUIET_MS);
    assert.deepEqual(await names(id), []);
    await write({ ...DATA, note: 'other' }, { id });
    await sleep(500);
    assert.equal(await article(frame).isVisible(), false);
    await frame.getByRole('button', { name: 'Show anyway' }).click();
    await shows(frame, DATA.summary);
    assert.equal(await frame.evaluate(() => document.activeElement.tagName), 'H1');
    await becomes(() => names(id), ['rendered']);
    // Another task in the same frame is another question.
    await page.evaluate((given) => window.frames[0].postMessage(given, '*'), tokenOf({ caller: '+14155550100' }));
    await frame.locator('#mismatch').waitFor();
  }
}

// --- When it was seen

async function isSeenOnce() {
  const id = await write();
  const page = await blank();
  const sent = [];
  page.on('request', (request) => { if (request.url().includes('/receipts?')) sent.push(request.postData()); });
  await page.goto(await link(id));
  await becomes(() => names(id), ['rendered']);
  await write({ ...DATA, note: 'other' }, { id });
  await shows(page, 'Updated just now');
  await page.evaluate(() => { document.querySelector('footer').scrollIntoView(); });
  await page.evaluate(() => { document.querySelector('h1').scrollIntoView(); });
  await sleep(QUIET_MS);
  assert.deepEqual(sent, ['{"receipt":"rendered"}']);
  await page.reload();
  await article(page).waitFor();
  await sleep(QUIET_MS);
  assert.deepEqual(await names(id), ['rendered']);
  const button = page.getByRole('button', { name: 'I have read it' });
  await button.click();
  await shows(page, 'Read at');
  await assertInOrder(page);
  await page.getByRole('button', { name: 'Read at' }).click({ force: true });
  await becomes(() => names(id), ['rendered', 'acknowledged']);
}

async function isNotSeenOutOfSight() {
  // Scrolled out of view, cut off by what is around it, or not displayed at all.
  const hidden = ['margin-top:3000px', 'display:none', 'height:0', 'position:absolute;left:-2000px'];
  for (const style of hidden) {
    const id = await write();
    const { page, frame } = await framed(id, {}, { style: `width:460px;height:700px;${style}` });
    await article(frame).waitFor({ state: 'attached' });
    await sleep(QUIET_MS);
    assert.deepEqual(await names(id), [], style);
    await page.evaluate(() => {
      const [element] = document.querySelectorAll('iframe');
      element.style = 'width:460px;height:700px';
      element.scrollIntoView();
    });
    await becomes(() => names(id), ['rendered']);
  }
}

// A tab behind another one asks for nothing, and has not been seen.
async function restsBehindAnotherTab() {
  const id = await write();
  const { tab, other } = await tabs();
  const requests = [];
  tab.on('request', (request) => requests.push(request.url()));
  await other.goto('about:blank');
  await other.bringToFront();
  await tab.goto(await link(id));
  assert.equal(await tab.evaluate(() => document.visibilityState), 'hidden');
  await sleep(QUIET_MS);
  assert.deepEqual(requests.filter((url) => url.includes('/v1/')), []);
  await tab.bringToFront();
  await shows(tab, DATA.note);
  await becomes(() => names(id), ['rendered']);

  await other.bringToFront();
  await becomes(() => tab.evaluate(() => document.visibilityState), 'hidden');
  await sleep(500);
  requests.length = 0;
  await write({ ...DATA, note: 'news' }, { id });
  await sleep(QUIET_MS);
  assert.deepEqual(requests, []);
  assert.ok((await tab.locator('body').innerText()).includes(DATA.note));
  await tab.bringToFront();
  await shows(tab, 'news');
}

async function saysItUntilItIsHeard() {
  const id = await write();
  const page = await blank();
  let tries = 0;
  // Each receipt fails twice, which cannot be made to happen otherwise.
  await page.route('**/v1/handoff_state/receipts?*', (route) => {
    tries += 1;
    if (tries % 3 === 0) return route.continue();
    return tries % 3 === 1 ? route.abort() : route.fulfill({ status: 503, body: '' });
  });
  await page.goto(await link(id));
  await becomes(() => names(id), ['rendered'], 12_000);
  assert.equal(tries, 3);
  for (const answer of ['Not sent. Try again', 'Not sent. Try again', 'Read at']) {
    await page.locator('[data-part=read]').click();
    await becomes(async () => (await page.locator('[data-part=read]').innerText()).startsWith(answer), true);
  }
  assert.deepEqual(await names(id), ['rendered', 'acknowledged']);
}

// Whatever comes, it asks no more than once a second, and holds one request at a time.
async function asksLittle() {
  const id = await write();
  const page = await blank();
  let views = 0;
  page.on('request', (request) => { views += Number(request.url().includes('/view?')); });
  await page.goto(await link(id));
  await article(page).waitFor();
  const before = views;
  for (let writes = 0; writes < 20; writes += 1) {
    await write({ ...DATA, writes }, { id });
    await sleep(150);
  }
  await shows(page, 'Updated just now');
  assert.ok(views - before <= 6, `${views - before} requests in three seconds`);
  const quiet = views;
  await sleep(4000);
  assert.ok(views - quiet <= 2, `${views - quiet} requests in four seconds without news`);
}

export const checks = [
  ['it stands in Flex, and where the settings let it', standsInFlex],
  ['it stands nowhere else', standsNowhereElse],
  ['it believes nobody but the page around it, of an origin that is listed', believesNobodyElse],
  ['it asks for another token when one is refused', asksForNewTokens],
  ['it hides the handoff of another caller, until it is wanted', warnsOfAnotherCaller],
  ['it says once that it was seen, and once that it was read', isSeenOnce],
  ['out of sight, it was not seen', isNotSeenOutOfSight],
  ['behind another tab it rests', restsBehindAnotherTab],
  ['it says so until it is heard', saysItUntilItIsHeard],
  ['it asks little', asksLittle],
];
