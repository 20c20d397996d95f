// The panel as an agent has it: every state that it can be in, alone by a view link and in a frame of Flex, in
// a real browser, with the real Baton; Twilio is pretended. Whatever breaks a page's policy, and any error
// that nothing catches, fails the check that opened it. With SCREENSHOTS set to a folder, it takes pictures.
//
// The last line is "N passed, N failed"; the exit code is 1 if any failed.

import { run } from '../twilio/checks.mjs';
import { endsWithin } from './common.mjs';
import { baton, browser, closeAll } from './panel-common.mjs';
import { checks as ofData } from './panel-data.mjs';
import { checks as ofSeen } from './panel-seen.mjs';
import { beginWhatLasts, checks as ofStates, lasting } from './panel-states.mjs';

// All of it takes about two minutes, one of them for what lasts a minute.
endsWithin(8);

// A part of a name runs the checks that have it in theirs.
const only = process.argv[2] ?? '';
const begun = await beginWhatLasts();
const all = [...ofData, ...ofStates, ...ofSeen, ...lasting(begun)];
const checks = all.filter(([name]) => name.includes(only));
await run(checks.map(([name, check]) => [name, async () => {
  try {
    await check();
  } finally {
    await closeAll(begun.pages);
  }
}]));
await closeAll();
await browser.close();
await baton.stop();
// Connections are kept alive.
process.exit();
