// The main act of each account page by the keyboard alone, with scripts and without: each ends in a
// request through the gate that passes, and in one that is refused after the revocation.
import { main, reach, submit, tick, type } from './chromium.mjs';
import { ACCOUNT, API, PASSWORD, SHOP } from './place.mjs';
import { must, same } from './report.mjs';
import { box, create, revealed } from './scenes.mjs';

const NEW_PASSWORD = 'another horse battery staple';

/// Follows a link by the keyboard.
async function follow(page, selector) {
  await submit(page, selector);
}

async function tokens({ page, place }) {
  await create(page, 'tokens', 'laptop');
  const token = await revealed(page, place);
  same(await place.gate(token), 200, 'a new token');
  await follow(page, 'a.button.plain');
  must((await main(page)).includes('laptop'), 'the list does not name it');
  await follow(page, 'a[href$="/revoke"]');
  must((await main(page)).includes('Revoke laptop'), 'the page does not name what it ends');
  await submit(page, 'button.danger');
  same(await place.gate(token), 401, 'a revoked token');
}

async function scopes({ page, place }) {
  await create(page, 'tokens', 'writer', ['read', 'write']);
  const token = await revealed(page, place);
  same(await place.gate(token), 403, 'a token without the scope of the route');
}

async function keys({ page, place }) {
  await page.goto(`${ACCOUNT}/keys`);
  await follow(page, 'main p a.button');
  await type(page, '#name', 'Web shop');
  await submit(page, '#name');
  const key = await revealed(page, place);
  const turn = async (act, word = '') => {
    await page.goto(`${ACCOUNT}/keys${word}`);
    await follow(page, `a[href$="/${act}"]`);
    await submit(page, 'button.danger');
  };
  same(await place.gate(key), 200, 'a new key');
  await turn('disable');
  same(await place.gate(key), 401, 'a disabled key');
  await submit(page, '.actions button');
  same(await place.gate(key), 200, 'an enabled key');
  await page.goto(`${ACCOUNT}/keys`);
  await follow(page, 'a[href$="/rotate"]');
  await submit(page, 'button.danger');
  const next = await revealed(page, place);
  same([await place.gate(key), await place.gate(next)], [200, 200], 'old and new key within the overlap');
  await turn('delete');
  await turn('delete');
  same([await place.gate(key), await place.gate(next)], [401, 401], 'deleted keys');
}

async function sessions({ page, person, world, login }) {
  const other = await world.open({ userAgent: 'Another Browser/1.0' });
  const there = await other.page();
  await other.signIn(there, login);
  await page.goto(`${ACCOUNT}/sessions`);
  same(await page.locator('tbody tr').count(), 2, 'sessions');
  const row = page.locator('tr', { hasText: 'Another Browser' });
  await row.locator('button').focus();
  await submit(page);
  same(await page.locator('tbody tr').count(), 1, 'sessions after one was ended');
  await there.goto(`${ACCOUNT}/tokens`);
  must(await there.locator('#password').count() === 1, 'the other browser is still signed in');
  await other.close();
  await submit(page, 'button.danger');
  must(await page.locator('#password').count() === 1, 'this browser is still signed in');
  await person.signIn(page, login, null);
}

async function profile({ page, place, world, login }) {
  place.secrets.add(NEW_PASSWORD);
  const other = await world.open();
  const there = await other.page();
  await other.signIn(there, login);
  await page.goto(`${ACCOUNT}/profile`);
  for (const [field, text] of [['old', PASSWORD], ['new', NEW_PASSWORD], ['again', NEW_PASSWORD]]) await type(page, `#${field}`, text);
  await submit(page);
  for (const one of [page, there]) {
    await one.goto(`${ACCOUNT}/tokens`);
    must(await one.locator('#password').count() === 1, 'a session outlived the change of the password');
  }
  await other.close();
  await type(page, '#login', login);
  await type(page, '#password', PASSWORD);
  await submit(page);
  must((await main(page)).includes('The login or the password is wrong'), 'the old password still works');
  await type(page, '#password', NEW_PASSWORD);
  await submit(page);
  must(page.url().startsWith(`${ACCOUNT}/tokens`), `after sign-in: ${page.url()}`);
  // A reset link sets it back, once.
  const link = await place.command('user', 'reset', login);
  await page.goto(link);
  for (const field of ['new', 'again']) await type(page, `#${field}`, PASSWORD);
  await submit(page);
  must((await main(page)).includes('Password set'), await main(page));
  await page.goto(link);
  must((await main(page)).includes('This link was used before'), await main(page));
}

async function applications({ page, place }) {
  await page.goto(`${ACCOUNT}/applications`);
  await follow(page, 'main p a.button');
  await type(page, '#name', 'Sales reports');
  await tick(page, '#confidential');
  await tick(page, '#strict');
  await page.keyboard.press('ArrowDown');
  must(await page.locator('#compat').isChecked(), 'compat is not chosen');
  await type(page, '#redirect_uris', `${SHOP}/reports`);
  await tick(page, `#${await box(page, 'read')}`);
  await submit(page, 'main button[type=submit]');
  const secret = await revealed(page, place);
  const client_id = await page.locator('#client_id').inputValue();
  const code = await codeOf(page, client_id, `${SHOP}/reports`);
  const form = { grant_type: 'authorization_code', code, redirect_uri: `${SHOP}/reports`, client_id, client_secret: secret };
  const { status, body } = await place.token(form);
  same(status, 200, `token of a registered application: ${JSON.stringify(body)}`);
  same(await place.gate(body.access_token), 200, 'its access token');
  // Shown again, replaced, ended.
  await page.goto(`${ACCOUNT}/applications/${client_id}`);
  await tick(page, 'input[name=secret]');
  await submit(page, 'button[value=show]');
  same(await revealed(page, place), secret, 'the secret that is shown again');
  await page.goto(`${ACCOUNT}/applications/${client_id}`);
  await submit(page, 'button[value=add]');
  must(await revealed(page, place) !== secret, 'the new secret is the old one');
  // Withdrawn by the person, then deleted by the owner.
  await page.goto(`${ACCOUNT}/authorized`);
  await follow(page, 'a[href$="/revoke"]');
  await submit(page, 'button.danger');
  same(await place.gate(body.access_token), 401, 'an access token after the withdrawal');
  const again = await place.token({ ...form, code: await codeOf(page, client_id, `${SHOP}/reports`) });
  same(await place.gate(again.body.access_token), 200, 'an access token after a new consent');
  await page.goto(`${ACCOUNT}/applications/${client_id}/delete`);
  await submit(page, 'button.danger');
  same(await place.gate(again.body.access_token), 401, 'an access token of a deleted application');
}

/// Allows a request, and takes the code out of the address of the application's page.
async function codeOf(page, client, uri) {
  await page.goto(`${API}/auth/oauth/authorize?response_type=code&client_id=${client}&redirect_uri=${encodeURIComponent(uri)}`);
  await submit(page, 'button[value=allow]');
  const code = new URL(page.url()).searchParams.get('code');
  must(code, `no code: ${page.url()}`);
  return code;
}

async function help({ page }) {
  await page.goto(`${ACCOUNT}/help`);
  const text = await main(page);
  for (const part of [`${API}/oauth/token`, 'curl', 'URLSearchParams', 'curl_init']) must(text.includes(part), `no ${part}`);
}

async function signOut({ page }) {
  await page.goto(`${ACCOUNT}/tokens`);
  await submit(page, '.who button');
  must(await page.locator('#password').count() === 1, 'still signed in');
  await page.goBack();
  await page.reload();
  must(await page.locator('#password').count() === 1, 'signed in after back and reload');
  await reach(page, '#login');
}

const ACTS = { 'personal access tokens': tokens, 'permissions of a token': scopes, 'API keys': keys, 'developer applications': applications, sessions, help,
  'profile, password and reset link': profile, 'sign out': signOut };

export async function accounts(world, report) {
  for (const javaScriptEnabled of [true, false]) {
    for (const [name, run] of Object.entries(ACTS)) {
      await report.check(`${name}, ${javaScriptEnabled ? 'with' : 'without'} script, by keyboard`, async () => {
        const { place } = world;
        const login = await place.person('ada', '--role', 'developer');
        const person = await world.open({ javaScriptEnabled });
        const page = await person.page();
        await person.signIn(page, login);
        await run({ page, place, person, world, login });
        await person.close();
      });
    }
  }
}
