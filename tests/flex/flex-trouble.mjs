// What an agent and an administrator are told when it does not work, and what is done about it.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { from, hex } from '../browser/common.mjs';
import {
  DATA, ORIGIN, OTHER_ORIGIN, assertShows, baton, openFlex, task, twilio, write,
} from './flex-desk.mjs';

const flex = await openFlex();
const { page, tab } = flex;
const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

const ofViews = (request) => request.method() === 'GET' && request.url().includes('/v1/handoff_state/view');

// The token's turn: what Twilio says of it can be changed later.
function tokenOf(status, body) {
  const answer = [status, body];
  return { token: twilio.token(answer), now: (...next) => answer.splice(0, 2, ...next) };
}

const GOOD = [200, {
  valid: true, expiration: from(3600), roles: ['agent'], realm_user_id: 'unused', ...twilio.worker,
}];

async function asksWithTheTokenOfTheMoment() {
  const tokens = [twilio.user(), twilio.user(), twilio.user()];
  const sent = [];
  const note = (request) => {
    if (ofViews(request)) sent.push(request.headers().authorization);
  };
  page.on('request', note);
  const id = await write();
  const one = task(id);
  for (const [place, token] of tokens.entries()) {
    await flex.signIn(token);
    if (place === 0) await flex.show(one);
    else await write(id, { ...DATA, summary: `Number ${place}.` });
    await assertShows(flex, place === 0 ? DATA.summary : `Number ${place}.`);
    for (let tries = 0; !twilio.asked.includes(token) && tries < 100; tries += 1) await sleep(100);
    assert.ok(twilio.asked.includes(token), `the token of ${place}`);
  }
  page.off('request', note);
  assert.ok(tokens.every((token) => sent.includes(`Bearer ${token}`)));
  const request = page.waitForRequest(ofViews);
  await flex.show(undefined);
  await flex.show(task(await write()));
  assert.equal((await request).headers()['x-twilio-account-sid'], twilio.account);
}

async function assertRefused(code, ...wanted) {
  await flex.is('refused');
  await assertShows(flex, code, UUID, ...wanted);
  assert.equal(await tab.getByText(DATA.summary).count(), 0);
  await tab.getByRole('button', { name: 'Try again' }).waitFor();
}

async function saysThatATokenHasEnded() {
  await flex.signIn(twilio.user({ expiration: from(-60) }));
  await flex.show(task(await write()));
  await assertRefused('TOKEN_EXPIRED', 'Reload Flex, or sign in again.');
  // Flex has a new one, and nobody has to do anything.
  await flex.signIn(twilio.user());
  await assertShows(flex, DATA.summary);
  await flex.signIn(twilio.token(twilio.notKnown));
  await flex.show(task(await write()));
  await assertRefused('INVALID_TOKEN', 'Reload Flex, or sign in again.');
  await flex.signIn(twilio.user());
  await flex.is('there');
}

// What the agent has on the screen stays there while a token is renewed.
async function keepsTheScreenWhileATokenIsRenewed() {
  const id = await write();
  const following = page.waitForRequest((request) => request.url().includes(`${id}&wait=8&min_revision=`));
  await flex.show(task(id));
  await following;
  await flex.signIn(twilio.user({ expiration: from(-60) }));
  await write(id, { ...DATA, summary: 'Anew.' });
  await assertShows(flex, 'Anew.');
  await flex.is('refused');
  await assertShows(flex, 'Anew.', 'TOKEN_EXPIRED');
  await flex.signIn(twilio.user());
  await flex.is('there');
  await tab.getByText('TOKEN_EXPIRED').waitFor({ state: 'detached' });
}

async function saysThatARoleMayNot() {
  await flex.signIn(twilio.user({ roles: ['wfo.data_auditor'] }));
  await flex.show(task(await write()));
  await assertRefused('ROLE_NOT_ALLOWED', /BATON_FLEX_ROLES/);
  await flex.signIn(twilio.user());
  await tab.getByRole('button', { name: 'Try again' }).click();
  await assertShows(flex, DATA.summary);
}

// Who may not see it any more does not.
async function hidesWhatMayNotBeSeenAnyMore() {
  const id = await write();
  await flex.show(task(id));
  await flex.is('there');
  await flex.signIn(twilio.user({ roles: [] }));
  await write(id, { ...DATA, summary: 'Anew.' });
  await assertRefused('ROLE_NOT_ALLOWED');
  assert.equal(await tab.getByText('Anew.').count(), 0);
  await flex.signIn(twilio.user());
}

async function saysThatAnAccountIsNotLinked() {
  await flex.signIn(twilio.user(), `AC${hex(32)}`);
  await flex.show(task(await write()));
  await assertRefused('ACCOUNT_NOT_LINKED', /link a connector/);
  await flex.signIn(twilio.user());
}

async function triesAgainWhenBatonHasTrouble() {
  const { token, now } = tokenOf(500, { message: 'Internal' });
  await flex.signIn(token);
  const asked = [];
  const note = (request) => {
    if (ofViews(request)) asked.push(Date.now());
  };
  page.on('request', note);
  const answer = page.waitForResponse((response) => ofViews(response.request()) && response.status() === 503);
  await flex.show(task(await write()));
  const retryAfter = Number((await answer).headers()['retry-after']);
  await assertShows(flex, 'IDENTITY_UNAVAILABLE', UUID, 'Trying again…');
  now(...GOOD);
  await assertShows(flex, DATA.summary);
  page.off('request', note);
  assert.ok(retryAfter >= 1);
  assert.ok(asked.length >= 2);
  assert.ok(asked[1] - asked[0] >= retryAfter * 1000, `${asked[1] - asked[0]} ms`);
  assert.equal(await tab.getByText('IDENTITY_UNAVAILABLE').count(), 0);
}

// The browser tells a page no more than that there was no answer.
async function saysWhatAnAdministratorCanDoAboutCors() {
  const elsewhere = await openFlex({ origin: OTHER_ORIGIN });
  const asked = [];
  elsewhere.page.on('request', (request) => {
    if (ofViews(request)) asked.push(Date.now());
  });
  const one = task(await write());
  await elsewhere.show(one);
  const sentence = `Baton does not allow this page: add ${OTHER_ORIGIN} to BATON_CORS_ORIGINS, `
    + `or Baton is not reachable at ${baton.url}.`;
  await assertShows(elsewhere, sentence, 'Trying again…');
  const again = elsewhere.tab.getByRole('button', { name: 'Try again' });
  await again.waitFor({ timeout: 40_000 });
  assert.equal(asked.length, 11);
  assert.ok(asked[10] - asked[0] > 5000);
  await sleep(3500);
  assert.equal(asked.length, 11);
  await again.click();
  await assertShows(elsewhere, sentence, 'Trying again…');
  await elsewhere.close();
}

async function saysWhenThereIsNoNetwork() {
  const id = await write();
  await flex.show(task(id));
  await flex.is('there');
  await page.context().setOffline(true);
  try {
    // What is on the screen stays there.
    await assertShows(flex, 'You are offline', DATA.summary);
  } finally {
    await page.context().setOffline(false);
  }
  await write(id, { ...DATA, summary: 'Anew.' });
  await assertShows(flex, 'Anew.');
  await tab.getByText('You are offline').waitFor({ state: 'detached' });
}

async function saysWhenSomebodyElseAnswers() {
  await page.route('**/v1/handoff_state/view*', (route) => route.fulfill({
    status: 200, contentType: 'text/html', headers: { 'access-control-allow-origin': ORIGIN }, body: '<h1>Parked</h1>',
  }));
  await flex.show(task(await write()));
  await flex.is('refused');
  await assertShows(flex, 'Something else answers in the place of Baton', /src\/config\.ts/);
  await page.unroute('**/v1/handoff_state/view*');
  await tab.getByRole('button', { name: 'Try again' }).click();
  await assertShows(flex, DATA.summary);
}

async function isQuiet() {
  assert.deepEqual(page.said.filter((text) => /^Warning/.test(text)), []);
  assert.deepEqual(page.errors, []);
}

export const checks = [
  ['each request has the token that Flex has at the moment', asksWithTheTokenOfTheMoment],
  ['a token that has ended is said to have, and a new one helps by itself', saysThatATokenHasEnded],
  ['what is on the screen stays there while a token is renewed', keepsTheScreenWhileATokenIsRenewed],
  ['a role that may not read is told of BATON_FLEX_ROLES', saysThatARoleMayNot],
  ['what an agent may not read any more goes from the screen', hidesWhatMayNotBeSeenAnyMore],
  ['an account that is not linked is said not to be', saysThatAnAccountIsNotLinked],
  ['when Baton has trouble it is tried again, after as long as it asks for', triesAgainWhenBatonHasTrouble],
  [
    'a page that Baton does not allow says which setting names it, and gives up after ten more tries',
    saysWhatAnAdministratorCanDoAboutCors,
  ],
  ['without a network what is on the screen stays there', saysWhenThereIsNoNetwork],
  ['an answer that is not Baton\'s is said not to be', saysWhenSomebodyElseAnswers],
  ['React and the page have nothing to complain of here either', isQuiet],
];
