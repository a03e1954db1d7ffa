// The issuer as npm `oauth4webapi` sees it: discovery, client credentials with both methods of
// authentication, introspection and revocation, each answer checked by the library.
import * as oauth from 'oauth4webapi';

const { ISSUER = '', SHOP_SECRET = '', READER_SECRET = '' } = process.env;
const insecure = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(ISSUER);
const steps: string[] = [];

async function discover(algorithm: 'oauth2' | 'oidc'): Promise<oauth.AuthorizationServer> {
  const answer = await oauth.discoveryRequest(issuer, { algorithm, ...insecure });
  const server = await oauth.processDiscoveryResponse(issuer, answer);
  steps.push(`discovery ${algorithm}`);
  return server;
}

const server = await discover('oauth2');
await discover('oidc');
const shop: oauth.Client = { client_id: 'shop' };
const reader: oauth.Client = { client_id: 'reader' };

for (const method of [oauth.ClientSecretBasic, oauth.ClientSecretPost]) {
  const mine = method(SHOP_SECRET);
  const asked = await oauth.clientCredentialsGrantRequest(server, shop, mine, { scope: 'read' }, insecure);
  const token = await oauth.processClientCredentialsResponse(server, shop, asked);
  if (token.scope !== 'read' || token.token_type !== 'bearer') throw new Error(JSON.stringify(token));
  const active = async (): Promise<oauth.IntrospectionResponse> => {
    const answer = await oauth.introspectionRequest(server, reader, method(READER_SECRET), token.access_token, insecure);
    return oauth.processIntrospectionResponse(server, reader, answer);
  };
  const before = await active();
  if (!before.active || before.client_id !== 'shop') throw new Error(JSON.stringify(before));
  await oauth.processRevocationResponse(await oauth.revocationRequest(server, shop, mine, token.access_token, insecure));
  if ((await active()).active) throw new Error('active after its revocation');
  steps.push(`${method.name}: token, introspection, revocation`);
}

try {
  const asked = await oauth.clientCredentialsGrantRequest(server, shop, oauth.ClientSecretPost('wrong'), {}, insecure);
  await oauth.processClientCredentialsResponse(server, shop, asked);
  throw new Error('a wrong secret was accepted');
} catch (error) {
  if (!(error instanceof oauth.ResponseBodyError) || error.error !== 'invalid_client' || error.status !== 401) throw error;
  steps.push('wrong secret: invalid_client');
}
console.log(JSON.stringify(steps));
