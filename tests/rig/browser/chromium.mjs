// Debian's chromium, its contexts and the keyboard: a person in front of the pages.
// Keeps an account of everything that a page must not do: script errors, violations of its content
// policy, secrets in addresses, titles, the history and Referer.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

import { ACCOUNT, API, PASSWORD } from './place.mjs';
import { must, same } from './report.mjs';

/// Packages of npm: `make browser` installs them.
export const installed = createRequire(new URL('../../../target/rig/browser/package.json', import.meta.url));
const { chromium } = installed('playwright-core');

const TABS_MAX = 80;
const PAGE_MS = 20_000;
/// A refusal is a document with status 4xx, which the console names.
const EXPECTED = /^Failed to load resource: the server responded with a status of 4\d\d/;
/// What a client gets in its own address: a code of one use.
const IN_ADDRESS = /^gp_ac_/;

export async function launch(place) {
  const rules = Object.entries(place.ports).map(([origin, port]) => `MAP ${new URL(origin).hostname}:443 127.0.0.1:${port}`);
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // Its sandbox needs rights that a container does not have; the names lead to this machine alone.
    args: ['--no-sandbox', '--proxy-server=direct://', `--host-resolver-rules=${rules.join(', ')}, MAP * ~NOTFOUND`],
    env: { ...process.env, FONTCONFIG_FILE: fileURLToPath(new URL('fonts.conf', import.meta.url)) },
    timeout: 60_000,
  });
}

/// A browser of one person.
export class Person {
  static async open(browser, place, options = {}) {
    const context = await browser.newContext({ ignoreHTTPSErrors: true, timezoneId: 'UTC', locale: 'en-GB', ...options });
    context.setDefaultTimeout(PAGE_MS);
    return new Person(context, place);
  }

  constructor(context, place) {
    Object.assign(this, { context, place, wrong: [], watched: [], addresses: new Set() });
    context.on('page', (page) => this.watch(page));
  }

  watch(page) {
    page.on('console', (message) => {
      const { type, text } = { type: message.type(), text: message.text() };
      const counts = ['error', 'warning'].includes(type) && page.url().startsWith(API);
      if (counts && !EXPECTED.test(text)) this.wrong.push(`console: ${text}`);
    });
    page.on('pageerror', (error) => this.wrong.push(`script: ${error.message}`));
    page.on('request', (request) => {
      this.addresses.add(request.url());
      this.watched.push(request.allHeaders().then((headers) => headers.referer && this.addresses.add(headers.referer), () => {}));
    });
  }

  page() {
    return this.context.newPage();
  }

  /// Signs in at the sign-in page, by the keyboard alone.
  async signIn(page, login, target = `${ACCOUNT}/`) {
    if (target) await page.goto(target);
    await reach(page, '#login');
    await page.keyboard.type(login);
    await reach(page, '#password');
    await page.keyboard.type(PASSWORD);
    await submit(page);
    must(await page.locator('#password').count() === 0, `not signed in: ${await main(page)}`);
  }

  /// Fails when a page did what no page may do, then closes the browser of the person.
  async close() {
    await Promise.all(this.watched);
    const secrets = [...this.place.secrets, ...(await this.context.cookies(API)).map((cookie) => cookie.value)];
    const texts = [...this.addresses];
    for (const page of this.context.pages()) {
      const session = await this.context.newCDPSession(page);
      const { entries } = await session.send('Page.getNavigationHistory');
      texts.push(await page.title(), ...entries.flatMap((entry) => [entry.url, entry.title]));
    }
    await this.context.close();
    const found = secrets.filter((secret) => secret && !IN_ADDRESS.test(secret) && texts.some((text) => text.includes(secret)));
    must(found.length === 0, `${found.length} secrets in addresses, titles or the history: ${found.map((one) => one.slice(0, 7))}`);
    same(this.wrong, [], 'console');
  }
}

/// The text of the page.
export const main = async (page) => (await page.locator('main').innerText()).replace(/\s+/g, ' ');

/// Moves the focus with the Tab key until an element has it.
export async function reach(page, selector) {
  for (let tabs = 0; tabs < TABS_MAX; tabs += 1) {
    const isThere = await page.evaluate((wanted) => document.activeElement?.matches(wanted) ?? false, selector);
    if (isThere) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`${selector} cannot be reached with Tab on ${page.url()}: ${await main(page)}`);
}

/// Presses Enter where the focus is, and waits for the next page.
export async function submit(page, selector) {
  if (selector) await reach(page, selector);
  await Promise.all([page.waitForEvent('domcontentloaded'), page.keyboard.press('Enter')]);
}

/// Presses Space where a box or button is.
export async function tick(page, selector) {
  await reach(page, selector);
  await page.keyboard.press('Space');
}

export async function type(page, selector, text) {
  await reach(page, selector);
  await page.keyboard.press('Control+A');
  await page.keyboard.type(text);
}
