// What a page must refuse, and what it says then: back and reload after a secret was shown, stale
// forms, forms of other sites, frames, foreign and missing tokens of forms.
import { main, reach, submit, type } from './chromium.mjs';
import { ACCOUNT, API, OTHER, SHOP } from './place.mjs';
import { eventually, must, same } from './report.mjs';
import { authorize, create, revealed } from './scenes.mjs';

async function count(page, folder) {
  await page.goto(`${ACCOUNT}/${folder}`);
  return page.locator('tbody tr').count();
}

const says = async (page, text) => {
  const shown = await main(page).catch(() => 'an error page of the browser');
  must(shown.includes(text), `not said: "${text}", but: ${shown}`);
};

async function reload({ page, place }) {
  for (const folder of ['tokens', 'keys']) {
    await create(page, folder, 'once');
    const secret = await revealed(page, place);
    await page.reload();
    await says(page, 'This form was sent before');
    must(!(await page.content()).includes(secret), 'the secret is shown again');
    same(await count(page, folder), 1, folder);
    same(await place.gate(secret), 200, 'what was made');
  }
}

/// What the tab holds, after a navigation that may end on an error page of the browser.
const held = (page) => eventually('the page', () => page.content().catch(() => ''));

async function back({ page, place }) {
  for (const folder of ['tokens', 'keys']) {
    await create(page, folder, 'once');
    const secret = await revealed(page, place);
    await submit(page, 'a.button.plain');
    await page.goBack().catch(() => {});
    must(!(await held(page)).includes(secret), 'the secret is in the history');
    await page.reload().catch(() => {});
    must(!(await held(page)).includes(secret), 'the secret is shown again');
    same(await count(page, folder), 1, folder);
  }
}

async function twice({ page, place }) {
  await page.goto(`${ACCOUNT}/tokens/new`);
  await type(page, '#name', 'double');
  await Promise.all([page.waitForEvent('domcontentloaded'), page.locator('main form button').dblclick()]);
  await page.waitForLoadState();
  const secret = await revealed(page, place);
  same(await place.gate(secret), 200, 'the token of a double click');
  same(await count(page, 'tokens'), 1, 'tokens');
}

async function stale({ page, person, login }) {
  const old = await person.page();
  await old.goto(`${ACCOUNT}/tokens/new`);
  await page.goto(`${ACCOUNT}/tokens`);
  await submit(page, '.who button');
  await type(old, '#name', 'stale');
  await submit(old, '#name');
  await says(old, 'You are signed out, or your session has ended. Nothing was changed.');
  await old.goBack();
  await person.signIn(page, login);
  await old.goto(`${ACCOUNT}/tokens/new`);
  await page.goto(`${ACCOUNT}/tokens`);
  await submit(page, '.who button');
  await person.signIn(page, login);
  await type(old, '#name', 'stale');
  await submit(old, '#name');
  await says(old, 'This form belongs to an earlier session of this browser');
  same(await count(page, 'tokens'), 0, 'tokens');
  // A consent of the session before.
  await old.goto(authorize('shop', `${SHOP}/callback`));
  await page.goto(`${ACCOUNT}/tokens`);
  await submit(page, '.who button');
  await person.signIn(page, login);
  await submit(old, 'button[value=allow]');
  await says(old, 'This form belongs to an earlier session of this browser');
  await page.goto(`${ACCOUNT}/authorized`);
  await says(page, 'There are none');
}

async function tokens({ page }) {
  for (const value of ['', 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA']) {
    await page.goto(`${ACCOUNT}/tokens/new`);
    await type(page, '#name', 'forged');
    await page.evaluate((text) => { document.querySelector('main [name=csrf]').value = text; }, value);
    await submit(page, '#name');
    await says(page, 'Nothing was changed');
  }
  // The token of another form of the same page.
  await page.goto(`${ACCOUNT}/tokens/new`);
  await type(page, '#name', 'forged');
  await page.evaluate(() => { document.querySelector('main [name=csrf]').value = document.querySelector('header [name=csrf]').value; });
  await submit(page, '#name');
  await says(page, 'Nothing was changed');
  same(await count(page, 'tokens'), 0, 'tokens');
}

const forged = (action, fields, target) => `<!doctype html><title>other site</title><form method=post action="${action}"${target ? ` target=${target}` : ''}>
${Object.entries(fields).map(([name, value]) => `<input name="${name}" value="${value}">`).join('')}</form>`;

async function otherSite({ page, place, person, login }) {
  const forms = { '/tokens/new': { name: 'forged', id: 'pat_x', 'scope-0': 'on', expiry: '7', csrf: 'x' }, '/sign-out': { csrf: 'x' }, '/sessions': { id: 'all', csrf: 'x' },
    '/consent': { decision: 'allow', request: 'x', csrf: 'x' }, '/device': { user_code: 'BCDF-GHJK', csrf: 'x' }, '/sign-in': { login: 'x', password: 'x', next: 'x', csrf: 'x' } };
  const statuses = [];
  for (const [path, fields] of Object.entries(forms)) {
    place.pages.set(`${OTHER}/forged`, forged(ACCOUNT + path, fields));
    await page.goto(`${OTHER}/forged`);
    const answered = page.waitForResponse((one) => one.url() === ACCOUNT + path);
    await page.evaluate(() => document.forms[0].submit());
    statuses.push((await answered).status());
    await page.waitForLoadState();
    await says(page, 'Nothing was changed');
  }
  same(new Set(statuses).size === 1 && statuses[0], 403, `statuses ${statuses}`);
  // From a sandbox, whose origin is null.
  place.pages.set(`${OTHER}/forged`, `<!doctype html><title>x</title><iframe sandbox="allow-scripts allow-forms allow-top-navigation" src="/framed"></iframe>`);
  place.pages.set(`${OTHER}/framed`, `${forged(`${ACCOUNT}/sign-out`, { csrf: 'x' }, '_top')}<script>document.forms[0].submit()</script>`);
  const answered = page.waitForResponse((one) => one.url() === `${ACCOUNT}/sign-out`);
  await page.goto(`${OTHER}/forged`).catch(() => {});
  same((await answered).status(), 403, 'a form of a sandbox');
  same(await count(page, 'tokens'), 0, 'tokens');
  must((await page.locator('.who').innerText()).includes(login), 'signed out by another site');
  // A script of another site reads nothing.
  await page.goto(`${OTHER}/`);
  const read = await page.evaluate((url) => fetch(url, { credentials: 'include' }).then((one) => one.text(), (error) => error.name), `${ACCOUNT}/tokens`);
  same(read, 'TypeError', 'a page that another site reads');
  person.wrong = person.wrong.filter((one) => !/CORS|Unsafe attempt/.test(one));
}

async function frames({ page, place, person }) {
  const targets = [`${ACCOUNT}/sign-in`, `${ACCOUNT}/tokens`, authorize('shop', `${SHOP}/callback`), `${API}/auth/oauth/device`, `${ACCOUNT}/nothing`];
  for (const target of targets) {
    place.pages.set(`${OTHER}/frame`, `<!doctype html><title>other site</title><iframe src="${target.replaceAll('&', '&amp;')}"></iframe>`);
    await page.goto(`${OTHER}/frame`);
    const [frame] = page.mainFrame().childFrames();
    must(frame, 'no frame');
    await eventually(`the refusal of a frame of ${target}`, () => frame.url() === 'chrome-error://chromewebdata/');
  }
  person.wrong = person.wrong.filter((one) => !/frame-ancestors|X-Frame-Options/.test(one));
}

async function mistakes({ page }) {
  await page.goto(`${ACCOUNT}/tokens/new`);
  await type(page, '#name', 'x'.repeat(30));
  await page.evaluate(() => document.querySelectorAll('main input[type=checkbox]').forEach((one) => { one.checked = false; }));
  await submit(page, '#name');
  await says(page, 'Choose at least one permission.');
  same(await page.locator('#name').inputValue(), 'x'.repeat(30), 'the name that was typed');
  await reach(page, '[role=alert] a');
  await page.keyboard.press('Enter');
  same(new URL(page.url()).hash, '#scopes', 'the link of the summary');
}

async function session({ page, person, world, login }) {
  // An id that another planted before the sign-in is worth nothing after it.
  const planted = 'A'.repeat(43);
  const names = (await person.context.cookies(API)).map((one) => one.name);
  must(names.includes('__Host-gatepost'), `cookies ${names}`);
  const victim = await world.open();
  const there = await victim.page();
  await there.goto(`${ACCOUNT}/sign-in`);
  const before = (await victim.context.cookies(API)).find((one) => one.name === '__Host-gatepost').value;
  await victim.signIn(there, login, null);
  const after = (await victim.context.cookies(API)).find((one) => one.name === '__Host-gatepost');
  must(after.value !== before && after.value !== planted, 'the session has the id of before');
  same([after.httpOnly, after.secure, after.sameSite, after.path], [true, true, 'Lax', '/'], 'the cookie');
  const thief = await world.open();
  await thief.context.addCookies([{ ...after, value: before }]);
  const stolen = await thief.page();
  await stolen.goto(`${ACCOUNT}/tokens`);
  must(await stolen.locator('#password').count() === 1, 'signed in with the id of before');
  same(await there.evaluate('document.cookie'), '', 'cookies that a script sees');
  await reach(stolen, '#login');
  await page.goto(`${ACCOUNT}/tokens`);
  await Promise.all([victim.close(), thief.close()]);
}

const GUARDS = { 'reload after a secret was shown makes no second one': reload, 'back after a secret was shown makes no second one': back,
  'a double click makes one token, and shows it': twice, 'stale forms': stale, 'missing and foreign tokens of forms': tokens,
  'forms and scripts of other sites': otherSite, 'no page in a frame': frames, 'mistakes of a form': mistakes, 'session fixation': session };

export async function guards(world, report) {
  for (const [name, run] of Object.entries(GUARDS)) {
    await report.check(name, async () => {
      const { place } = world;
      const login = await place.person('carl');
      const person = await world.open();
      const page = await person.page();
      await person.signIn(page, login);
      await run({ page, place, person, world, login });
      await person.close();
    });
  }
}

/// No log and no file of the store holds a secret that the run has seen.
export async function written(world, report) {
  await report.check('no secret in a log, the store or the audit log', async () => {
    const { place } = world;
    const files = [...place.files(), ['audit', Buffer.from(await place.command('audit', '--output', 'json'))]];
    const found = files.flatMap(([name, text]) => [...place.secrets].filter((secret) => text.includes(secret)).map((secret) => `${name}: ${secret.slice(0, 9)}`));
    same(found, [], 'secrets');
    return `${place.secrets.size} secrets in ${files.length} places`;
  });
}
