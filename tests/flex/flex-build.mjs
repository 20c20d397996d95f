// Writes the plugin out as an operator does, checks its types against Flex's own, and bundles it with Flex for
// flex-page.tsx.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { symlinkSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { TEMP } from '../browser/common.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const MODULES = `${HERE}node_modules`;

// What Twilio's own build puts into plugins.
const BUILT_IN = [
  'PLUGIN_UNIQUE_NAME', 'PLUGIN_VERSION', 'FLEX_PLUGIN_SCRIPTS_VERSION', 'FLEX_PLUGIN_VERSION',
  'FLEX_UI_VERSION', 'REACT_VERSION', 'REACT_DOM_VERSION',
];

/** The plugin's project, for the Baton at `url`. */
export function writePlugin(url) {
  const dir = `${TEMP}/plugin`;
  execFileSync(process.env.BATON, ['recipe', 'flex-plugin', dir, '--url', url], { stdio: 'pipe' });
  symlinkSync(MODULES, `${dir}/node_modules`);
  return dir;
}

/** The script that shows that Baton's panel. */
export function writePanelScript(url) {
  const dir = `${TEMP}/panel-recipe`;
  execFileSync(process.env.BATON, ['recipe', 'flex-panel', dir, '--url', url], { stdio: 'pipe' });
  return `${dir}/flex-panel.js`;
}

/** What tsc has to say of the project; nothing, when all is well. */
export function complaintsOfTypes(dir) {
  try {
    execFileSync(`${MODULES}/.bin/tsc`, ['--pretty', 'false'], { cwd: dir, stdio: 'pipe' });
    return '';
  } catch (error) {
    return `${error.stdout}${error.stderr}`;
  }
}

/** One script: Flex, the plugin, and the panel's. React is told to complain of what is done wrong. */
export async function bundle(dir, panel) {
  const define = Object.fromEntries(BUILT_IN.map((name) => [`__FPB_${name}`, '"test"']));
  const { warnings } = await build({
    entryPoints: [`${HERE}flex-page.tsx`],
    outfile: `${TEMP}/page.js`,
    bundle: true,
    alias: { path: `${MODULES}/path-browserify/index.js`, '@plugin': `${dir}/src`, '@panel': panel },
    define: { ...define, 'process.env.NODE_ENV': '"development"', global: 'window' },
    jsx: 'transform',
    logLevel: 'silent',
  });
  assert.deepEqual(warnings.filter(({ location }) => !/node_modules/.test(location?.file)), []);
  return readFile(`${TEMP}/page.js`);
}

/** The functions of one of the plugin's files that is nothing but functions. */
export async function functionsOf(dir, name) {
  const outfile = `${TEMP}/${name}.mjs`;
  await build({ entryPoints: [`${dir}/src/${name}.ts`], outfile, format: 'esm', logLevel: 'silent' });
  return import(outfile);
}
