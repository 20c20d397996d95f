// What an operator sees of calls, and nobody else: in a real browser, against a running Baton. `run` tells it
// what `common.mjs` lists; the checks stand in the files beside it.
//
// The last line is "N passed, N failed"; the exit code is 1 if any failed.

import { run } from '../twilio/checks.mjs';
import { calls } from './console-calls.mjs';
import { baton, browser } from './console-common.mjs';
import { look } from './console-look.mjs';
import { session } from './console-session.mjs';

await run([...session, ...calls, ...look]);
await browser.close();
await baton.stop();
// Connections are kept alive.
process.exit();
