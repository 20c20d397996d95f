// Runs checks, `[[name, check], …]`, one after the other, and tells each. The last line is
// "N passed, N failed"; the exit code is then 1 if any failed. ONLY, a regular expression, names those to run.

export async function run(all, say = console.log) {
  const only = new RegExp(process.env.ONLY ?? '');
  const checks = all.filter(([name]) => only.test(name));
  let failed = 0;
  for (const [name, check] of checks) {
    try {
      await check();
      say(`ok - ${name}`);
    } catch (error) {
      failed += 1;
      say(`not ok - ${name}\n${error.stack}`);
    }
  }
  say(`${checks.length - failed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
