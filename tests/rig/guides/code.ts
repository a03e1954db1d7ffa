// The authorization code flow with npm `oauth4webapi`: prints the address for the browser, reads where
// the browser was sent back to, and goes on. Each answer is checked by the library.
import { createInterface } from 'node:readline/promises';
import * as oauth from 'oauth4webapi';

const { ISSUER = '', CLIENT_ID = '', CLIENT_SECRET = '', REDIRECT_URI = '', API = '' } = process.env;
const insecure = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(ISSUER);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }));
const client: oauth.Client = { client_id: CLIENT_ID };
const mine = CLIENT_SECRET ? oauth.ClientSecretPost(CLIENT_SECRET) : oauth.None();
const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();

const authorize = new URL(server.authorization_endpoint ?? '');
authorize.search = new URLSearchParams({
  response_type: 'code', client_id: CLIENT_ID, redirect_uri: REDIRECT_URI, scope: 'read', state,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
}).toString();
console.log(JSON.stringify({ authorize: authorize.href }));

// Checks state and iss (RFC 9207).
const back = new URL((await lines.next()).value ?? '');
const parameters = oauth.validateAuthResponse(server, client, back, state);
const asked = await oauth.authorizationCodeGrantRequest(server, client, mine, parameters, REDIRECT_URI, verifier, insecure);
const tokens = await oauth.processAuthorizationCodeResponse(server, client, asked);
const call = async (access: string): Promise<number> => (await oauth.protectedResourceRequest(access, 'GET', new URL(API), undefined, undefined, insecure)).status;
const called = await call(tokens.access_token);
const again = await oauth.refreshTokenGrantRequest(server, client, mine, tokens.refresh_token ?? '', insecure);
const refreshed = await oauth.processRefreshTokenResponse(server, client, again);
await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, mine, refreshed.refresh_token ?? '', insecure));
let ended = '';
try {
  const third = await oauth.refreshTokenGrantRequest(server, client, mine, refreshed.refresh_token ?? '', insecure);
  await oauth.processRefreshTokenResponse(server, client, third);
} catch (error) {
  if (!(error instanceof oauth.ResponseBodyError)) throw error;
  ended = error.error;
}
console.log(JSON.stringify({
  scope: tokens.scope, expires_in: tokens.expires_in, called, rotated: refreshed.refresh_token !== tokens.refresh_token, ended,
  revoked: await call(refreshed.access_token).catch((error: unknown) => (error instanceof oauth.WWWAuthenticateChallengeError ? error.status : String(error))),
}));
