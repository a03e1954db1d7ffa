// A plugin as the guides describe it: started with OAUTH_CLIENT_ID, OAUTH_CLIENT_SECRET and
// API_BASE_URL, it gets a token and renews it when `expires_in` is over. It never looks at a 401.
type Token = { access_token: string; expires_in: number };

const { OAUTH_CLIENT_ID = '', OAUTH_CLIENT_SECRET = '', API_BASE_URL = '', SECONDS = '5' } = process.env;

class Api {
  tokens = 0;
  private token = '';
  private expires = 0;

  private async authenticate(): Promise<void> {
    const answer = await fetch(`${API_BASE_URL}/auth/oauth/token`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({
        grant_type: 'client_credentials', client_id: OAUTH_CLIENT_ID, client_secret: OAUTH_CLIENT_SECRET, scope: 'read write',
      }),
    });
    if (answer.status !== 200) throw new Error(`token: ${answer.status} ${await answer.text()}`);
    const token = (await answer.json()) as Token;
    this.tokens += 1;
    this.token = token.access_token;
    this.expires = Date.now() + token.expires_in * 1000;
  }

  async query(): Promise<number> {
    if (Date.now() >= this.expires) await this.authenticate();
    const answer = await fetch(`${API_BASE_URL}/api/query`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${this.token}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ entity: 'orders' }),
    });
    await answer.text();
    return answer.status;
  }
}

const api = new Api();
const statuses: Record<string, number> = {};
for (const until = Date.now() + Number(SECONDS) * 1000; Date.now() < until;) {
  const status = await api.query();
  statuses[status] = (statuses[status] ?? 0) + 1;
  await new Promise((next) => setTimeout(next, 20));
}
console.log(JSON.stringify({ tokens: api.tokens, statuses }));
