// Three OpenID providers (npm `oidc-provider`) in one process on loopback, for tests/rig/identity_provider.py.
//
//   node identity_provider.mjs PORT PORT PORT      0 lets the kernel choose
//
// The first signs with RS256 and the second with ES256; tokens of the third are opaque. The first
// line it writes names their addresses. After that each line it reads is a command, and each line
// it writes the answer, both JSON. Keys are generated at every start and kept in memory.
import * as http from 'node:http';
import * as readline from 'node:readline';
import { exportJWK, decodeJwt, decodeProtectedHeader, generateKeyPair, SignJWT } from 'jose';
import Provider from 'oidc-provider';

const ALGORITHMS = ['RS256', 'ES256', 'RS256'];
const client = (client_id, alg) => ({
  client_id,
  id_token_signed_response_alg: alg,
  client_secret: `secret-of-${client_id}`,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
});

let made = 0;
async function newKey(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  made += 1;
  const kid = `key-${process.pid}-${made}`;
  return { ...(await exportJWK(privateKey)), kid, alg, use: 'sig' };
}

async function start(port, alg) {
  let answer, one;
  const server = http.createServer((request, response) => {
    one.asked += request.url === '/jwks';
    answer(request, response);
  });
  await new Promise((done) => server.listen(port, '127.0.0.1', done));
  const issuer = `http://127.0.0.1:${server.address().port}`;
  one = { issuer, alg, keys: [await newKey(alg)], asked: 0 };
  // What its operator does on a rotation: the same provider with another key set. The last one signs.
  one.serve = (keys, signer = keys.at(-1).kid) => {
    one.keys = keys;
    one.provider = new Provider(issuer, {
      clients: ['service', 'brief', 'gatepost'].map((name) => client(name, alg)),
      jwks: { keys },
      scopes: ['read'],
      features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        introspection: { enabled: true, allowedPolicy: () => true },
        revocation: { enabled: true, allowedPolicy: () => true },
        resourceIndicators: {
          enabled: true,
          getResourceServerInfo: (ctx, resource) => resourceServer(resource, alg, signer),
        },
      },
      ttl: { ClientCredentials: (ctx, token, { clientId }) => (clientId === 'brief' ? 1 : 3600), AccessToken: 3600, Grant: 3600 },
    });
    answer = one.provider.callback();
    return { keys: keys.map(({ kid }) => kid), signer };
  };
  one.serve(one.keys);
  return one;
}

const resourceServer = (resource, alg, kid) => ({
  audience: resource,
  scope: 'read',
  accessTokenFormat: resource.endsWith('/opaque') ? 'opaque' : 'jwt',
  jwt: { sign: { alg, kid } },
});

const commands = {
  // A rotation as it should be: announce a key, sign with it, remove the old one.
  announce: async (one) => one.serve([...one.keys, await newKey(one.alg)], one.keys.at(-1).kid),
  sign: async (one) => one.serve(one.keys),
  retire: async (one) => one.serve([one.keys.at(-1)]),
  // And as it should not be: all at once.
  replace: async (one) => one.serve([await newKey(one.alg)]),
  // How often the key set was fetched.
  asked: async ({ asked }) => ({ asked }),
  // An opaque token of a person, as a sign-in would have made it.
  person: async ({ provider }, { subject, resource }) => {
    const grant = new provider.Grant({ accountId: subject, clientId: 'service' });
    grant.addResourceScope(resource, 'read');
    const token = new provider.AccessToken({
      accountId: subject,
      client: await provider.Client.find('service'),
      grantId: await grant.save(),
      gty: 'authorization_code',
      scope: 'read',
    });
    token.resourceServer = new provider.ResourceServer(resource, resourceServer(resource));
    return { token: await token.save() };
  },
  // The same token with the signature of a foreign key under the same or another kid.
  forge: async ({ alg }, { token, kid }) => {
    const { privateKey } = await generateKeyPair(alg);
    const header = { ...decodeProtectedHeader(token), ...(kid && { kid }) };
    return { token: await new SignJWT(decodeJwt(token)).setProtectedHeader(header).sign(privateKey) };
  },
};

const ports = process.argv.slice(2).map(Number);
const all = await Promise.all(ALGORITHMS.map((alg, at) => start(ports[at] ?? 0, alg)));
console.log(JSON.stringify(all.map(({ issuer }) => issuer)));
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { do: name, at, ...rest } = JSON.parse(line);
  try {
    console.log(JSON.stringify(await commands[name](all[at], rest)));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
process.exit(0);
