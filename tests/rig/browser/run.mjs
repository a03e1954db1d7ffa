// The pages for people in Debian's chromium, through the gate and back: node run.mjs [--binary FILE]
// [--only WORDS] [--screenshots FOLDER]. Prints one line a check; exit code 1 when one failed.
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { accounts } from './accounts.mjs';
import { Person, launch } from './chromium.mjs';
import { flows } from './flows.mjs';
import { guards, written } from './guards.mjs';
import { looks } from './looks.mjs';
import { Place } from './place.mjs';
import { Report } from './report.mjs';

const RUN_MS = 15 * 60_000;
const HERE = path.dirname(fileURLToPath(import.meta.url));
const BINARY = path.resolve(HERE, '../../../target/debug/gatepost');

async function main({ binary, only, screenshots }) {
  const [place, report] = [new Place(binary, HERE), new Report(only)];
  let browser;
  const stop = async () => {
    await browser?.close().catch(() => {});
    await place.stop();
  };
  const end = (code) => stop().finally(() => process.exit(code));
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => end(143));
  const late = setTimeout(() => {
    console.log(`FAILED the rig: not at its end after ${RUN_MS / 60_000} minutes`);
    end(1);
  }, RUN_MS);
  process.once('uncaughtException', (error) => {
    console.log(`FAILED the rig: ${error.stack}`);
    end(1);
  });
  try {
    await place.start();
    browser = await launch(place);
    const world = { place, browser, open: (options) => Person.open(browser, place, options) };
    for (const part of [accounts, flows, guards]) await part(world, report);
    await looks(world, report, screenshots);
    await written(world, report);
  } finally {
    clearTimeout(late);
    await stop();
  }
  return report.end();
}

const options = { binary: { type: 'string', default: BINARY }, only: { type: 'string', default: '' }, screenshots: { type: 'string' } };
process.exitCode = await main(parseArgs({ options }).values);
