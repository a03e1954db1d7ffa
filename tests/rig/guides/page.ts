// A page of a client on another origin, as the guides describe it: the authorization code flow with
// state, without PKCE, the secret in the body; then the API across origins. Reads nothing of gatepost
// but HTTP, and reports to its own server.
type Token = { token_type: string; expires_in: number; access_token: string; refresh_token?: string; scope: string };
type Settings = { base: string; client: string; secret: string };

const settings = (await (await fetch('/settings')).json()) as Settings;
const callback = `${location.origin}/callback`;

async function token(form: Record<string, string>): Promise<Token> {
  const body = new URLSearchParams({ ...form, client_id: settings.client, client_secret: settings.secret });
  const answer = await fetch(`${settings.base}/auth/oauth/token`, { method: 'POST', body });
  const document = await answer.json();
  if (!answer.ok) throw new Error(`token: ${answer.status} ${JSON.stringify(document)}`);
  return document as Token;
}

function refresh(tokens: Token): Promise<Token> {
  return token({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token ?? '' });
}

function call(access: string): Promise<Response> {
  return fetch(`${settings.base}/api/query`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${access}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ entity: 'products' }),
  });
}

/** After a 401 the client refreshes and calls again. */
async function retry(tokens: Token): Promise<number[]> {
  const first = await call(tokens.access_token);
  if (first.status !== 401) return [first.status];
  const fresh = await refresh(tokens);
  return [first.status, (await call(fresh.access_token)).status];
}

function begin(): void {
  const state = crypto.randomUUID();
  sessionStorage.setItem('state', state);
  const query = new URLSearchParams({ response_type: 'code', client_id: settings.client, redirect_uri: callback, scope: '', state });
  location.assign(`${settings.base}/auth/oauth/authorize?${query}`);
}

async function finish(): Promise<unknown> {
  const query = new URLSearchParams(location.search);
  if (query.get('state') !== sessionStorage.getItem('state')) throw new Error('another state');
  const tokens = await token({ grant_type: 'authorization_code', code: query.get('code') ?? '', redirect_uri: callback });
  const called = (await call(tokens.access_token)).status;
  // The client keeps its first refresh token, whatever a refresh answers.
  const refreshed = [(await call((await refresh(tokens)).access_token)).status, (await call((await refresh(tokens)).access_token)).status];
  const bearer = { Authorization: `Bearer ${tokens.access_token}` };
  const revoked = (await fetch(`${settings.base}/auth/oauth/revoke`, { method: 'POST', headers: bearer })).status;
  const { access_token, refresh_token, ...shown } = tokens;
  return { members: Object.keys(tokens), shown, iss: query.get('iss'), called, refreshed, revoked, retried: await retry(tokens) };
}

if (location.pathname === '/callback') {
  const results = await finish().catch((error: unknown) => ({ error: String(error) }));
  await fetch('/results', { method: 'POST', body: JSON.stringify(results) });
} else {
  begin();
}
