// The panel beside a task, in Flex's own CRM container, with the script that `baton recipe flex-panel` writes.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { callSid, from } from '../browser/common.mjs';
import {
  DATA, OTHER_ORIGIN, baton, openFlex, outbound, receipts, task, twilio, write,
} from './flex-desk.mjs';

const flex = await openFlex({ hash: '#panel' });
const { page } = flex;
const panel = page.frameLocator('iframe[title=CRMContainer]');

async function select(one) {
  await flex.has(task(undefined), task(callSid()), one);
  await flex.show(one);
}

const isSeen = (text) => panel.getByText(text).first().waitFor({ timeout: 15_000 });

async function showsTheHandoff() {
  for (const make of [task, outbound]) {
    const id = await write();
    const one = make(id);
    await select(one);
    await isSeen(DATA.summary);
    assert.equal(await page.locator('iframe[title=CRMContainer]').getAttribute('src'), `${baton.url}/panel?id=${id}`);
    assert.deepEqual(await receipts(id), [['rendered', one.taskSid, twilio.worker.worker_sid]]);
  }
}

async function warnsOfAnotherCaller() {
  await select(task(await write(), { from: '+15551234567', caller: '+15551234567' }));
  await panel.getByRole('button', { name: 'Show anyway' }).waitFor();
  assert.equal(await panel.getByText(DATA.summary).first().isVisible(), false);
}

async function givesTheTokenOfTheMoment() {
  await flex.signIn(twilio.user({ expiration: from(-60) }));
  await select(task(await write()));
  await sleep(1000);
  const next = twilio.user();
  await flex.signIn(next);
  await isSeen(DATA.summary);
  assert.ok(twilio.asked.includes(next));
}

// What a frame learns that asks its parent: the first message that comes back, or null.
const asks = (frame, id) => frame.evaluate((wanted) => new Promise((resolve) => {
  addEventListener('message', ({ data, origin }) => resolve({ data, origin }), { once: true });
  parent.postMessage({ type: 'baton:ask', id: wanted }, '*');
  setTimeout(resolve, 1500, null);
}), id);

async function frame(name) {
  const element = await page.waitForSelector(name);
  return element.contentFrame();
}

async function tellsItToBatonAlone() {
  const token = twilio.user();
  await flex.signIn(token);
  const id = await write();
  const one = task(id);
  await select(one);
  await isSeen(DATA.summary);
  const told = await asks(await frame('iframe[title=CRMContainer]'), id);
  assert.deepEqual(told.data, {
    type: 'baton:token', token, account_sid: twilio.account, task_sid: one.taskSid, caller: one.attributes.from,
  });
  // Another page asks just as Baton's does, and the page itself does.
  await page.evaluate((src) => {
    const other = Object.assign(document.createElement('iframe'), { src, id: 'other' });
    document.body.append(other);
  }, `${OTHER_ORIGIN}/empty`);
  const other = await frame('#other');
  await other.waitForLoadState();
  assert.equal(await asks(other, id), null);
  const own = await page.evaluate((wanted) => new Promise((resolve) => {
    addEventListener('message', ({ data }) => data.type === 'baton:token' && resolve(data));
    postMessage({ type: 'baton:ask', id: wanted }, '*');
    setTimeout(resolve, 1500, null);
  }), id);
  assert.equal(own, null);
  await page.evaluate(() => document.querySelector('#other').remove());
}

async function tellsItOfTheAgentsTasksAlone() {
  const id = await write();
  await select(task(id));
  await isSeen(DATA.summary);
  const panelFrame = await frame('iframe[title=CRMContainer]');
  for (const unknown of [callSid(), await write(), undefined, '']) assert.equal(await asks(panelFrame, unknown), null);
}

// What showed something there before goes on for other tasks.
async function leavesOtherTasksAlone() {
  const uris = await page.evaluate(async () => {
    const answers = [];
    for (const before of [undefined, () => 'https://crm.example.com/']) {
      const Stub = { CRMContainer: { defaultProps: { uriCallback: before } } };
      desk.showPanel(Stub);
      answers.push(Stub.CRMContainer.defaultProps.uriCallback({ attributes: {} }));
      answers.push(Stub.CRMContainer.defaultProps.uriCallback(undefined));
    }
    return answers;
  });
  assert.deepEqual(uris, [undefined, undefined, 'https://crm.example.com/', 'https://crm.example.com/']);
}

async function isQuiet() {
  assert.deepEqual(page.errors, []);
  assert.deepEqual(page.violations, []);
}

export const checks = [
  ['the panel shows the handoff beside the task, and says so with the task', showsTheHandoff],
  ['the panel warns when the task is of another caller', warnsOfAnotherCaller],
  ['the panel is given the token of the moment, each time', givesTheTokenOfTheMoment],
  ['the token is told to Baton\'s page, and to no other', tellsItToBatonAlone],
  ['the token is told for the agent\'s own tasks alone', tellsItOfTheAgentsTasksAlone],
  ['a task without a call keeps what was there before', leavesOtherTasksAlone],
  ['neither page has anything to complain of', isQuiet],
];
