// Looks: each page in light and dark, on a desktop and a phone: axe, the focus, the width, and the
// screenshots of it.
import fs from 'node:fs';
import path from 'node:path';

import { installed } from './chromium.mjs';
import { must, same } from './report.mjs';
import { SCENES } from './scenes.mjs';

const AXE = fs.readFileSync(installed.resolve('axe-core/axe.min.js'), 'utf8');
const DESKTOP = { width: 1100, height: 700 };
const PHONE = { width: 390, height: 780 };
/// What a page is looked at in.
const VIEWS = [['light', 'light', DESKTOP], ['dark', 'dark', DESKTOP], ['phone', 'light', PHONE], ['phone-dark', 'dark', PHONE]];
const PICTURES = ['light', 'dark', 'phone'];
/// The narrowest one, and those around the change from cards to a table and to whole dates.
const WIDTHS = [320, 780, 1030];
const TABS_MAX = 120;

/// Serious and critical findings of axe.
async function axe(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  const grave = violations.filter((one) => ['serious', 'critical'].includes(one.impact));
  return grave.map((one) => `${one.id}: ${one.nodes.map((node) => node.html.slice(0, 90)).slice(0, 3).join(' | ')}`);
}

/// Goes through the page with the Tab key: every control is reached, in view, and marked.
async function focus(page) {
  await page.evaluate(() => {
    document.activeElement.blur();
    globalThis.scrollTo(0, 0);
  });
  const controls = await page.evaluate(() => {
    const all = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')];
    const shown = all.filter((one) => one.checkVisibility());
    // One button of a group of radio buttons takes the focus.
    const names = new Set();
    return shown.filter((one) => one.type !== 'radio' || (!names.has(one.name) && names.add(one.name))).length;
  });
  const [seen, wrong] = [new Set(), new Set()];
  // The first round may begin at the field that had the focus.
  for (let [tabs, rounds] = [0, 0]; tabs < TABS_MAX && rounds < 2 && seen.size < controls; tabs += 1) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const one = document.activeElement;
      if (one === document.body) return null;
      const [style, box] = [getComputedStyle(one), one.getBoundingClientRect()];
      const all = [...document.querySelectorAll('*')];
      return {
        at: one.type === 'radio' ? one.name : all.indexOf(one),
        name: `${one.tagName} ${one.id || one.name || one.textContent.trim().slice(0, 30)}`,
        isMarked: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
        isInView: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
      };
    });
    if (!at) {
      rounds += 1;
      continue;
    }
    seen.add(at.at);
    if (!at.isMarked || !at.isInView) wrong.add(at.name);
  }
  same([...wrong], [], 'controls whose focus is not visible');
  must(seen.size >= controls, `${seen.size} of ${controls} controls are reached with Tab`);
}

/// How far a page scrolls sideways, in pixels, and what sticks out.
async function overflow(page, width) {
  await page.setViewportSize({ width, height: 640 });
  const wide = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    const out = [...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > clientWidth + 1);
    return scrollWidth > clientWidth ? `${scrollWidth - clientWidth} px: ${out.slice(0, 3).map((one) => one.outerHTML.slice(0, 60))}` : '';
  });
  must(!wide, `horizontal scrolling at ${width} px: ${wide}`);
}

/// A heading, a title and a language, as screen readers announce a page.
async function names(page) {
  const found = await page.evaluate(() => [document.documentElement.lang, document.querySelectorAll('h1').length, document.title.length > 3]);
  same(found, ['en', 1, true], 'language, headings and title');
}

async function look(page, name, pictures) {
  for (const [view, colorScheme, size] of VIEWS) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await page.setViewportSize(size);
    if (pictures && PICTURES.includes(view)) {
      await page.screenshot({ path: path.join(pictures, `${name}-${view}.png`), fullPage: true });
    }
    same(await axe(page), [], `axe, ${view}`);
  }
  await names(page);
  for (const width of WIDTHS) await overflow(page, width);
  await page.setViewportSize(DESKTOP);
  await focus(page);
}

/// People in different states: signed out, nothing yet, a developer, and one with everything.
async function people(world) {
  const grace = await world.place.person('grace', '--name', 'Grace Hopper', '--email', 'grace@example.com', '--role', 'developer', '--role', 'operator');
  const logins = { none: null, new: await world.place.person('linus'), developer: await world.place.person('barbara', '--role', 'developer'), grace };
  const opened = {};
  for (const [who, login] of Object.entries(logins)) {
    const person = await world.open({ viewport: DESKTOP });
    opened[who] = { person, page: await person.page() };
    if (login) await person.signIn(opened[who].page, login);
  }
  return opened;
}

export async function looks(world, report, pictures) {
  if (pictures) fs.mkdirSync(pictures, { recursive: true });
  const opened = await people(world);
  for (const [name, who, open] of SCENES) {
    const { page } = opened[who];
    await report.check(`looks of ${name}`, async () => {
      await page.setViewportSize(DESKTOP);
      await page.emulateMedia({ colorScheme: 'light' });
      await open(page, world.place);
      await look(page, name, pictures);
    });
  }
  for (const [who, { person }] of Object.entries(opened)) {
    await report.check(`looks: no error on the console, no secret in an address: ${who}`, () => person.close());
  }
}
