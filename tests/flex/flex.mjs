// The Flex plugin that `baton recipe flex-plugin` writes, in the real Flex UI and a real browser, against a
// running Baton; and the panel, framed as `baton recipe flex-panel` does it. Made up are Twilio's side, and who
// is signed in to Flex.
//
// The last line is "N passed, N failed"; the exit code is 1 if any failed.

import assert from 'node:assert/strict';
import { endsWithin } from '../browser/common.mjs';
import { run } from '../twilio/checks.mjs';

// Most of it is waiting: for what is late, for what is tried again, and for what expires.
endsWithin(8);

const desk = await import('./flex-desk.mjs');
console.log(`Baton ${desk.baton.url}, Chromium ${desk.version}, page ${desk.ORIGIN}`);

const types = ['the plugin\'s types are those of Flex', () => assert.equal(desk.plugin.complaints, '')];
const parts = process.env.ONLY?.split(' ') ?? ['receipts', 'trouble', 'panel', 'shows'];
const checks = [types];
for (const part of parts) checks.push(...(await import(`./flex-${part}.mjs`)).checks);
await run(checks);
await desk.quit();
process.exit();
