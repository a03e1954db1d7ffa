// An API client as the guides describe it: `client CASE`, settings in the environment, one line of
// JSON per answer. Reads nothing of gatepost but HTTP.
import { readFile } from 'node:fs/promises';

type Seen = { status: number; body: unknown };
type Token = { access_token: string; token_type: string; expires_in: number; scope: string; refresh_token?: string };

const setting = (name: string): string => process.env[name] ?? '';
const base = setting('API_BASE_URL');

async function seen(answer: Response): Promise<Seen> {
  const text = await answer.text();
  try {
    return { status: answer.status, body: JSON.parse(text) };
  } catch {
    return { status: answer.status, body: text };
  }
}

/** An API key where there is one, else the access token. */
function credential(): Record<string, string> {
  const key = setting('API_KEY');
  return key ? { 'X-API-Key': key } : { Authorization: `Bearer ${setting('ACCESS_TOKEN')}` };
}

function query(headers = credential()): Promise<Response> {
  return fetch(`${base}/api/query`, {
    method: 'POST',
    headers: { ...headers, 'Content-Type': 'application/json' },
    body: JSON.stringify({ entity: 'products', filter: { stock: { gt: 0 } }, limit: 10 }),
  });
}

/** URLSearchParams writes `%24filter=stock+gt+0`. */
function encoded(): Promise<Response> {
  const options = new URLSearchParams({
    $select: 'id,name,price', $filter: "stock gt 0 and name ne 'O''Neil & Söhne'", $expand: 'prices($top=1)', $top: '20', $orderby: 'name asc',
  });
  return fetch(`${base}/odata/products?${options}`, { headers: credential() });
}

function raw(): Promise<Response> {
  return fetch(`${base}/odata/products?$filter=stock%20gt%200&$expand=prices($top=1)&$top=20`, { headers: credential() });
}

async function upload(): Promise<Response> {
  const form = new FormData();
  form.append('file', new Blob([new Uint8Array(await readFile(setting('FILE')))], { type: 'text/csv' }), 'products.csv');
  form.append('entity', 'products');
  form.append('mapperId', '42');
  return fetch(`${base}/api/import`, { method: 'POST', headers: credential(), body: form });
}

function user(): Promise<Response> {
  return fetch(`${base}/api/v3/user`, { headers: { Authorization: `Bearer ${setting('ACCESS_TOKEN')}` } });
}

function token(): Promise<Response> {
  return fetch(`${base}${setting('PREFIX')}/token`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({
      grant_type: 'client_credentials', client_id: setting('CLIENT_ID'), client_secret: setting('CLIENT_SECRET'), scope: setting('SCOPE'),
    }),
  });
}

function revoke(): Promise<Response> {
  return fetch(`${base}${setting('PREFIX')}/revoke`, { method: 'POST', headers: credential() });
}

/** The guides' loop: after a 401 the client gets a token and calls again, as often as it takes. */
async function retry(current = setting('ACCESS_TOKEN'), tries = 1): Promise<Seen & { tries: number }> {
  const answer = await query({ Authorization: `Bearer ${current}` });
  if (answer.status !== 401 || tries > 5) return { ...(await seen(answer)), tries };
  const fresh = (await (await token()).json()) as Token;
  return retry(fresh.access_token, tries + 1);
}

const cases: Record<string, () => Promise<Response>> = { query, encoded, raw, upload, user, token, revoke };
const name = process.argv[2] ?? '';
const run = cases[name];
console.log(JSON.stringify(run ? await seen(await run()) : await retry()));
