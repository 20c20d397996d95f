// What Baton is told of handoffs, and what a task says of its call.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { callSid } from '../browser/common.mjs';
import { assertShows, openFlex, outbound, plugin, receipts, task, twilio, write } from './flex-desk.mjs';

const flex = await openFlex();
const WORKER = twilio.worker.worker_sid;

async function tellsThatItIsSeen() {
  const id = await write();
  const one = task(id);
  await flex.show(one);
  await flex.is('there');
  assert.deepEqual(await receipts(id), [['rendered', one.taskSid, WORKER]]);
  // Shown again, and again after it was written anew: it is told once.
  await flex.show(undefined);
  await flex.show(one);
  await flex.is('there');
  await write(id, { summary: 'Anew.' });
  await assertShows(flex, 'Anew.');
  await sleep(500);
  assert.equal((await receipts(id)).length, 1);
}

// Flex keeps the tabs mounted that are not in front.
async function tellsNothingOfATabBehind() {
  const id = callSid();
  const one = task(id);
  await flex.show(one);
  await flex.is('looking');
  await flex.bringForward('Info');
  await flex.tab.waitFor({ state: 'hidden' });
  await write(id);
  await flex.page.locator('[data-baton=there]').waitFor({ state: 'attached' });
  assert.deepEqual(await receipts(id, 0), []);
  await flex.bringForward('Handoff');
  assert.deepEqual(await receipts(id), [['rendered', one.taskSid, WORKER]]);
}

async function tellsNothingOfWhatIsHidden() {
  const id = await write();
  await flex.show(task(id, { from: '+15551234567' }));
  await assertShows(flex, 'Show anyway');
  assert.deepEqual(await receipts(id, 0), []);
  await flex.tab.getByRole('button', { name: 'Show anyway' }).click();
  assert.equal((await receipts(id)).length, 1);
}

async function tellsThatATaskWasAccepted() {
  for (const make of [task, outbound]) {
    const id = await write();
    const one = make(id);
    // Nobody looks at the tab.
    await flex.accept({ task: one });
    assert.deepEqual(await receipts(id), [['accepted', one.taskSid, WORKER]]);
  }
  // Some parts of Flex name the reservation alone.
  const named = await write();
  const one = task(named);
  await flex.has(task(await write()), one);
  await flex.accept({ sid: one.sid });
  assert.deepEqual(await receipts(named), [['accepted', one.taskSid, WORKER]]);
  const id = await write();
  const chat = task(undefined, { handoff_id: id }, { taskChannelUniqueName: 'chat', channelType: 'web' });
  await flex.accept({ task: chat });
  assert.deepEqual(await receipts(id, 0), []);
}

async function tellsItAlsoWhenThereIsNoHandoffYet() {
  const id = callSid();
  const one = task(id);
  const refused = flex.page.waitForResponse((response) => response.url().includes(`/receipts?id=${id}`));
  await flex.accept({ task: one });
  assert.equal((await refused).status(), 404);
  await write(id);
  assert.deepEqual(await receipts(id), [['accepted', one.taskSid, WORKER]]);
}

// It has been tried often enough; it is told all the same, as soon as the tab finds the handoff.
async function tellsItOnceThereIsAHandoff() {
  const id = callSid();
  const one = task(id);
  let tries = 0;
  flex.page.on('response', (response) => {
    if (response.url().includes(`/receipts?id=${id}`)) tries += 1;
  });
  await flex.accept({ task: one });
  for (let waited = 0; tries < 11 && waited < 300; waited += 1) await sleep(100);
  await sleep(4000);
  assert.equal(tries, 11);
  await write(id);
  await flex.show(one);
  const told = await receipts(id, 2);
  assert.deepEqual(told.map(([receipt]) => receipt).sort(), ['accepted', 'rendered']);
}

// --- Tasks

async function knowsTheIdOfATask() {
  const { handoffId } = await plugin.functionsOf('task');
  const participants = { customer: 'CA2' };
  for (const [attributes, id] of [
    [{ call_sid: 'CA1', conference: { participants }, handoff_id: 'CA3' }, 'CA1'],
    [{ conference: { participants }, handoff_id: 'CA3' }, 'CA2'],
    [{ call_sid: '', conference: {}, handoff_id: 'CA3' }, 'CA3'],
    [{ call_sid: 7, conference: { participants: 'customer' }, handoff_id: null }, undefined],
    [{ conference: null }, undefined],
    [{}, undefined],
    [undefined, undefined],
  ]) assert.equal(handoffId({ attributes }), id);
  assert.equal(handoffId(undefined), undefined);
}

async function knowsWhoseNumberItIs() {
  const { areOfOthers } = await plugin.functionsOf('task');
  for (const [one, other, differ] of [
    ['+441632960000', '+441632960000', false],
    ['+441632960000', '01632 960000', false],
    ['1632960000', '0044 1632 960 000', false],
    ['+44 (0)1632 960000', '+441632960000', false],
    ['+441632960000', '+441632960001', true],
    ['+15551234567', '+441632960000', true],
    ['960000', '+441632960001', false],
    ['', '+441632960000', false],
    ['anonymous', '+441632960000', false],
    ['sip:+15551234567@example.com', '+441632960000', false],
    [undefined, '+441632960000', false],
    [441632960001, '+441632960000', false],
  ]) {
    assert.equal(areOfOthers(one, other), differ, `${one} ${other}`);
    assert.equal(areOfOthers(other, one), differ, `${other} ${one}`);
  }
}

async function waitsLongerEachTime() {
  const { backoff } = await plugin.functionsOf('wait');
  for (let retry = 1; retry <= 12; retry += 1) {
    const most = Math.min(3000, 100 * 2 ** (retry - 1));
    const waits = Array.from({ length: 200 }, () => backoff(retry));
    assert.ok(waits.every((ms) => ms >= most / 2 && ms <= most), `${retry}`);
    assert.ok(new Set(waits).size > 100);
  }
  assert.equal(backoff(1, 7), 7000);
  assert.equal(backoff(1, 86_400), 60_000);
}

export const checks = [
  ['a handoff on the screen is told once, with the task and the worker', tellsThatItIsSeen],
  ['a handoff in a tab behind another is not told before it is in front', tellsNothingOfATabBehind],
  ['a hidden handoff is not told before it is shown', tellsNothingOfWhatIsHidden],
  ['an accepted task is told, seen or not; one that is no call is not', tellsThatATaskWasAccepted],
  ['a task that is accepted before there is a handoff is told when there is', tellsItAlsoWhenThereIsNoHandoffYet],
  ['even when that takes longer than it is tried', tellsItOnceThereIsAHandoff],
  ['the id of a task is its call, the customer\'s leg, or what it names', knowsTheIdOfATask],
  ['numbers are compared by their digits, and only numbers', knowsWhoseNumberItIs],
  ['each try waits longer, by chance, and as long as Baton asks for', waitsLongerEachTime],
];
