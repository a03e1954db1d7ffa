// Every page and how a person comes to it: for axe, for the checks of its looks and for screenshots.
import { main, submit, tick, type } from './chromium.mjs';
import { ACCOUNT, API, DEVICE, PASSWORD, SHOP } from './place.mjs';
import { must } from './report.mjs';

export const authorize = (client, uri, more = '') =>
  `${API}/auth/oauth/authorize?response_type=code&client_id=${client}&redirect_uri=${encodeURIComponent(uri)}&state=xyz${more}`;
export const CHALLENGE = '&code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';
export const VERIFIER = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
const AT_CALLBACK = 'com.example.phone:/callback';

/// The user code of a new device request.
export async function device(place) {
  const answer = await place.request('POST', '/auth/oauth/device/code', { form: { client_id: 'tv', scope: 'read write' } });
  must(answer.status === 200, `device: ${answer.text}`);
  return JSON.parse(answer.text);
}

export const go = (path) => async (page) => { await page.goto(ACCOUNT + path); };

/// The id of the box of a scope.
export const box = (page, scope) => page.locator('.check', { has: page.locator('code', { hasText: scope }) }).locator('input').getAttribute('id');

/// Fills and sends the form for a personal access token or an API key.
export async function create(page, folder, name, scopes = []) {
  await page.goto(`${ACCOUNT}/${folder}/new`);
  await type(page, '#name', name);
  for (const scope of scopes) await tick(page, `#${await box(page, scope)}`);
  await submit(page, '#name');
}

/// What is on the page that shows a secret once.
export async function revealed(page, place) {
  const secret = await page.locator('#secret').inputValue({ timeout: 5_000 }).catch(async () => { throw new Error(`no secret: ${await main(page)}`); });
  place.secrets.add(secret);
  return secret;
}

export const act = (folder, name) => async (page) => {
  await page.goto(`${ACCOUNT}/${folder}`);
  await page.locator('a', { hasText: name }).first().click();
};

async function wrongPassword(page) {
  await page.goto(`${ACCOUNT}/sign-in`);
  await type(page, '#login', 'grace');
  await type(page, '#password', 'wrong');
  await submit(page);
}

async function register(page, name) {
  await page.goto(`${ACCOUNT}/applications/new`);
  await type(page, '#name', name);
  await type(page, '#site', 'https://reports.example.org');
  await page.locator('#confidential').check();
  await page.locator('#compat').check();
  await page.locator('#redirect_uris').fill('https://reports.example.org/oauth/callback\nhttps://staging.reports.example.org/oauth/callback');
  await tick(page, `#${await box(page, 'read')}`);
  await submit(page, 'main button[type=submit]');
}

const formless = (path) => async (page) => {
  await page.goto(`${ACCOUNT}${path}`);
  await page.evaluate(() => document.querySelectorAll('[required],[min],[max]').forEach((field) => ['required', 'min', 'max'].forEach((name) => field.removeAttribute(name))));
  await page.evaluate(() => document.querySelector('main form').requestSubmit());
  await page.waitForLoadState();
};

async function enter(page, place) {
  const { user_code } = await device(place);
  await page.goto(`${API}/auth/oauth/device`);
  await type(page, '#user_code', user_code);
  await submit(page);
}

/// Name, who opens it (`none` is signed out, `new` has nothing yet), how, and where it is told.
export const SCENES = [
  ['sign-in', 'none', go('/sign-in')],
  ['sign-in-mistake', 'none', wrongPassword],
  ['reset', 'none', async (page, place) => { await page.goto(await place.command('user', 'reset', 'linus')); }],
  ['reset-used', 'none', go('/reset/0123456789abcdefghijklmnopqrstuvwxyzABCDEFG')],
  ['tokens-empty', 'new', go('/tokens')],
  ['keys-empty', 'new', go('/keys')],
  ['authorized-empty', 'new', go('/authorized')],
  ['applications-none', 'new', go('/applications')],
  ['applications-empty', 'developer', go('/applications')],
  ['token-new', 'grace', go('/tokens/new')],
  ['token-mistakes', 'grace', formless('/tokens/new')],
  ['token-secret', 'grace', async (page, place) => { await create(page, 'tokens', 'laptop', ['write']); await revealed(page, place); }],
  ['token-secret-reloaded', 'grace', async (page, place) => { await create(page, 'tokens', 'nightly backup'); await revealed(page, place); await page.reload(); }],
  ['tokens', 'grace', async (page, place) => { for (const name of ['deploy script', 'spreadsheet']) { await create(page, 'tokens', name); await place.gate(await revealed(page, place)); } await page.goto(`${ACCOUNT}/tokens`); }],
  ['tokens-filtered', 'grace', go('/tokens?q=nothing')],
  ['token-revoke', 'grace', act('tokens', 'Revoke')],
  ['key-new', 'grace', go('/keys/new')],
  ['key-secret', 'grace', async (page, place) => { await create(page, 'keys', 'Web shop'); await revealed(page, place); }],
  ['key-disable', 'grace', act('keys', 'Disable')],
  ['keys-disabled', 'grace', async (page) => { await act('keys', 'Disable')(page); await submit(page, 'button.danger'); }],
  ['key-rotate', 'grace', async (page, place) => { await create(page, 'keys', 'Warehouse scanner'); await revealed(page, place); await act('keys', 'Rotate')(page); }],
  ['key-rotated', 'grace', async (page, place) => { await act('keys', 'Rotate')(page); await submit(page, 'button.danger'); await revealed(page, place); }],
  ['keys', 'grace', go('/keys')],
  ['key-delete', 'grace', act('keys', 'Delete')],
  ['consent', 'grace', async (page) => { await page.goto(authorize('shop', `${SHOP}/callback`, '&scope=read%20write')); }],
  ['consent-native', 'grace', async (page) => { await page.goto(authorize('phone', AT_CALLBACK, CHALLENGE)); }],
  ['authorized', 'grace', async (page) => { await page.goto(authorize('shop', `${SHOP}/callback`, '&scope=read%20write')); await submit(page, 'button[value=allow]'); await page.goto(`${ACCOUNT}/authorized`); }],
  ['authorized-end', 'grace', act('authorized', 'Withdraw')],
  ['application-new', 'grace', go('/applications/new')],
  ['application-mistakes', 'grace', formless('/applications/new')],
  ['application-secret', 'grace', async (page, place) => { await register(page, 'Sales reports'); await revealed(page, place); }],
  ['applications', 'grace', go('/applications')],
  ['application', 'grace', act('applications', 'Sales reports')],
  ['application-delete', 'grace', async (page) => { await act('applications', 'Sales reports')(page); await page.locator('main a[href$=delete]').click(); }],
  ['device', 'grace', async (page) => { await page.goto(`${API}/auth/oauth/device`); }],
  ['device-mistake', 'grace', async (page) => { await page.goto(`${API}/auth/oauth/device`); await type(page, '#user_code', 'abc'); await submit(page); }],
  ['device-consent', 'grace', enter],
  ['device-connected', 'grace', async (page, place) => { await enter(page, place); await submit(page, 'button[value=allow]'); }],
  ['sessions', 'grace', go('/sessions')],
  ['profile', 'grace', go('/profile')],
  ['profile-mistake', 'grace', async (page) => { await page.goto(`${ACCOUNT}/profile`); await type(page, '#old', PASSWORD); await type(page, '#new', 'short'); await type(page, '#again', 'short'); await submit(page); }],
  ['help', 'grace', go('/help')],
  ['not-found', 'grace', go('/nothing')],
  ['unknown-application', 'grace', async (page) => { await page.goto(authorize('nobody', `${SHOP}/callback`)); }],
  ['wrong-redirect', 'grace', async (page) => { await page.goto(authorize('shop', 'https://elsewhere.example/callback')); }],
];
