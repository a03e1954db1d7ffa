// Code and device flow from a page to a token, and to a request through the gate: a redirect to
// another origin, to a private-use scheme, and from the one to the other; two tabs; a popup.
import { Person, main, reach, submit, type } from './chromium.mjs';
import { ACCOUNT, API, DEVICE, OTHER, SHOP, SHOP_SECRET } from './place.mjs';
import { eventually, must, same } from './report.mjs';
import { CHALLENGE, VERIFIER, authorize, device } from './scenes.mjs';

const PHONE = 'com.example.phone:/callback';
const STOCK = { client_id: 'stock', client_secret: SHOP_SECRET.replace('shop', 'stock'), redirect_uri: `${OTHER}/callback` };
const SHOP_CLIENT = { client_id: 'shop', client_secret: SHOP_SECRET, redirect_uri: `${SHOP}/callback` };

/// The page of a client as the guides have it: state, no PKCE, the secret in the body.
const CLIENT = `<!doctype html><title>shop</title><a id=begin href="#">Connect</a><p id=result></p><script>
const redirect_uri = location.origin + '/callback';
document.getElementById('begin').onclick = () => {
  sessionStorage.state = crypto.randomUUID();
  location = '${API}/auth/oauth/authorize?' + new URLSearchParams({ response_type: 'code', client_id: 'shop', redirect_uri, state: sessionStorage.state });
};
globalThis.call = async () => (await fetch('${API}/api/products', { headers: { Authorization: 'Bearer ' + globalThis.token } })).status;
(async () => {
  const got = new URLSearchParams(location.search);
  if (got.get('error')) return [got.get('error'), got.get('state') === sessionStorage.state, got.get('iss')];
  if (!got.get('code')) return '';
  const body = new URLSearchParams({ grant_type: 'authorization_code', code: got.get('code'), redirect_uri, client_id: 'shop', client_secret: '${SHOP_SECRET}' });
  const answer = await fetch('${API}/auth/oauth/token', { method: 'POST', body });
  const found = await answer.json();
  globalThis.token = found.access_token;
  return [answer.status, found.token_type, found.scope, got.get('state') === sessionStorage.state, got.get('iss'), await globalThis.call()];
})().then((found) => { document.getElementById('result').textContent = JSON.stringify(found); }, (error) => { document.getElementById('result').textContent = error; });
</script>`;
const POPUP = `<!doctype html><title>opener</title><p id=result></p><script>
addEventListener('message', (event) => { document.getElementById('result').textContent = event.origin + ' ' + event.data; });
</script>`;
const IN_POPUP = `<!doctype html><title>in the popup</title><script>opener.postMessage(new URLSearchParams(location.search).get('state'), location.origin);</script>`;

const result = async (page) => {
  const text = () => page.locator('#result').textContent();
  await eventually('the page of the application', async () => await text() !== '' && await text() !== '""');
  return JSON.parse(await text());
};

async function withdraw(page, name) {
  await page.goto(`${ACCOUNT}/authorized`);
  await submit(page, `a[aria-label="Withdraw access of ${name}"]`);
  await submit(page, 'button.danger');
}

async function anotherOrigin({ page, person, place, login, world }) {
  place.pages.set(`${SHOP}/`, CLIENT).set(`${SHOP}/callback`, CLIENT);
  await page.goto(`${SHOP}/`);
  await submit(page, '#begin');
  await person.signIn(page, login, null);
  const text = await main(page);
  for (const part of ['Shop asks for access', 'shop.example.net', 'See products and orders', login]) must(text.includes(part), `no ${part}: ${text}`);
  await submit(page, 'button[value=allow]');
  same(await result(page), [200, 'Bearer', 'read write', true, API, 200], 'status, type, scope, state, iss, status of the API');
  place.secrets.add((await page.evaluate('token')).split('.').pop());
  const other = await person.page();
  await withdraw(other, 'Shop');
  same(await page.evaluate('call()'), 401, 'the API after the withdrawal');
  await page.goto(`${SHOP}/`);
  await submit(page, '#begin');
  await submit(page, 'button[value=deny]');
  same(await result(page), ['access_denied', true, API], 'error, state, iss');
  const referrers = place.seen.filter((one) => one.headers.referer?.startsWith(API));
  same(referrers, [], 'requests to the application with an address of the pages in Referer');
}

/// Sends the consent by the keyboard; the address that the answer redirects to.
async function allowed(page) {
  const answered = page.waitForResponse((one) => one.request().method() === 'POST' && one.url().endsWith('/consent'));
  await reach(page, 'button[value=allow]');
  await page.keyboard.press('Enter');
  const answer = await answered;
  same(answer.status(), 303, 'status of the consent');
  return answer.headers().location;
}

const blocked = (person) => person.wrong.filter((one) => /form-action/.test(one));

async function privateScheme({ page, person, place, login }) {
  await person.signIn(page, login);
  await page.goto(authorize('phone', PHONE, CHALLENGE));
  must((await main(page)).includes('The answer goes to a program on this device'), 'no warning about a program');
  const location = await allowed(page);
  must(location.startsWith(`${PHONE}?code=gp_ac_`) && location.includes('state=xyz'), location.slice(0, 40));
  const form = { grant_type: 'authorization_code', code: new URL(location).searchParams.get('code'), redirect_uri: PHONE, client_id: 'phone', code_verifier: VERIFIER };
  const { status, body } = await place.token(form);
  same([status, body.token_type], [200, 'Bearer'], 'token');
  same(await place.gate(body.access_token), 200, 'the access token');
  // The tab itself asks which program is to open the address.
  await withdraw(await person.page(), 'Phone');
  same(await place.gate(body.access_token), 401, 'the access token after the withdrawal');
  same(blocked(person), [], 'violations of form-action');
}

async function onward({ page, person, place, login }) {
  place.pages.set(`${SHOP}/onward`, (_, response) => response.writeHead(302, { Location: 'com.example.phone:/done' }).end());
  await person.signIn(page, login);
  await page.goto(authorize('shop', `${SHOP}/onward`));
  await allowed(page);
  await eventually('the application', () => place.seen.some((one) => one.url.startsWith('/onward?code=gp_ac_')));
  await page.waitForTimeout(300);
  same(blocked(person), [], 'violations of form-action');
  // What the policy of the other pages would have done.
  const tab = await person.page();
  const cookie = (await person.context.cookies(API)).map((one) => `${one.name}=${one.value}`).join('; ');
  await tab.route('**/authorize?**', async (route) => {
    const { headers, text } = await place.request('GET', route.request().url(), { headers: { cookie } });
    const policy = `${headers['content-security-policy']}; form-action 'self'`;
    await route.fulfill({ body: text, headers: { ...headers, 'content-security-policy': policy } });
  });
  await tab.goto(authorize('stock', `${OTHER}/callback`));
  await reach(tab, 'button[value=allow]');
  await tab.keyboard.press('Enter');
  await eventually('the violation under form-action', () => blocked(person).length > 0);
  person.wrong = person.wrong.filter((one) => !/form-action/.test(one));
  return 'with form-action it is blocked';
}

async function connect({ page, person, place, login }) {
  const asked = await device(place);
  const form = { grant_type: DEVICE, device_code: asked.device_code, client_id: 'tv' };
  same((await place.token(form)).body.error, 'authorization_pending', 'the token before the consent');
  await page.goto(asked.verification_uri_complete);
  await person.signIn(page, login, null);
  same(await page.locator('#user_code').inputValue(), asked.user_code, 'the code that the address fills in');
  await submit(page, '#user_code');
  const text = await main(page);
  for (const part of ['Television', 'Go on only if you started this yourself', asked.user_code]) must(text.includes(part), `no ${part}: ${text}`);
  await submit(page, 'button[value=allow]');
  must((await main(page)).includes('Device connected'), await main(page));
  const { body } = await eventually('the token', async () => {
    const answer = await place.token(form);
    return answer.status === 200 ? answer : new Promise((next) => setTimeout(next, 500));
  });
  same(await place.gate(body.access_token), 200, 'the access token');
  await withdraw(page, 'Television');
  same(await place.gate(body.access_token), 401, 'the access token after the withdrawal');
  // Typed without the dash, in small letters, and denied.
  const denied = await device(place);
  await page.goto(denied.verification_uri);
  await type(page, '#user_code', denied.user_code.replace('-', '').toLowerCase());
  await submit(page);
  await submit(page, 'button[value=deny]');
  await new Promise((next) => setTimeout(next, 1_100));
  same((await place.token({ ...form, device_code: denied.device_code })).body.error, 'access_denied', 'the token after a denial');
}

async function tabs({ page, person, place, login }) {
  await person.signIn(page, login);
  const second = await person.page();
  const third = await person.page();
  place.pages.set(`${SHOP}/callback`, '<!doctype html><title>shop</title>');
  await page.goto(authorize('shop', `${SHOP}/callback`, '&scope=read').replace('state=xyz', 'state=first'));
  await second.goto(authorize('stock', `${OTHER}/callback`).replace('state=xyz', 'state=second'));
  await third.goto(authorize('shop', `${SHOP}/callback`, '&scope=write').replace('state=xyz', 'state=third'));
  const codes = [];
  for (const tab of [second, third, page]) {
    await tab.bringToFront();
    await submit(tab, 'button[value=allow]');
    const url = new URL(tab.url());
    codes.push([url.origin, url.searchParams.get('state'), url.searchParams.get('code')]);
  }
  same(codes.map((one) => one.slice(0, 2)), [[OTHER, 'second'], [SHOP, 'third'], [SHOP, 'first']], 'origins and states');
  const [stock, write, read] = codes.map((one) => ({ grant_type: 'authorization_code', code: one[2] }));
  same((await place.token({ ...stock, ...SHOP_CLIENT })).body.error, 'invalid_grant', 'the code of the other application');
  const scopes = [];
  for (const form of [{ ...stock, ...STOCK }, { ...write, ...SHOP_CLIENT }, { ...read, ...SHOP_CLIENT }]) scopes.push((await place.token(form)).body.scope);
  same(scopes, ['read', 'write', 'read'], 'scopes');
}

async function popup({ page, person, place, login }) {
  place.pages.set(`${SHOP}/`, POPUP).set(`${SHOP}/callback`, IN_POPUP);
  await page.goto(`${SHOP}/`);
  const opened = person.context.waitForEvent('page');
  await page.evaluate((url) => { open(url, 'popup', 'width=500,height=700'); }, authorize('shop', `${SHOP}/callback`));
  const inside = await opened;
  await inside.waitForLoadState();
  await person.signIn(inside, login, null);
  must(await inside.evaluate('opener !== null'), 'the consent page has no opener');
  await submit(inside, 'button[value=allow]');
  await eventually('the message', async () => await page.locator('#result').textContent() === `${SHOP} xyz`);
}

const FLOWS = { 'code flow to another origin, and across origins to the API': anotherOrigin, 'code flow to a private-use scheme': privateScheme,
  'code flow to a site that redirects to a private-use scheme': onward, 'device flow': connect, 'three consents in three tabs': tabs,
  'a popup keeps its opener': popup };
/// Those whose application needs no script.
const WITHOUT = [privateScheme, connect, tabs];

export async function flows(world, report) {
  for (const javaScriptEnabled of [true, false]) {
    for (const [name, run] of Object.entries(FLOWS)) {
      if (!javaScriptEnabled && !WITHOUT.includes(run)) continue;
      await report.check(`${name}, ${javaScriptEnabled ? 'with' : 'without'} script`, async () => {
        const { place, browser } = world;
        const login = await place.person('ben');
        const person = await Person.open(browser, place, { javaScriptEnabled });
        const note = await run({ page: await person.page(), person, place, login, world });
        await person.close();
        return note;
      });
    }
  }
}
