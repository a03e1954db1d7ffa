// The servers of the rig: gatepost with TLS and its issuer, the API behind it, and the sites of two
// other origins. All on ports of loopback that the system chose; the browser maps the names to them.
// Ends every process that it started.
import { execFile, spawn } from 'node:child_process';
import fs from 'node:fs';
import https from 'node:https';
import os from 'node:os';
import path from 'node:path';

import { eventually, must, within } from './report.mjs';

export const API = 'https://api.example.com';
export const SHOP = 'https://shop.example.net';
export const OTHER = 'https://other.example.org';
export const ACCOUNT = `${API}/auth/account`;
export const SHOP_SECRET = 'a-secret-of-the-shop-0123456789-abcdef';
export const PASSWORD = 'correct horse battery staple';
export const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const COMMAND_MS = 60_000;

const config = (folder) => `\
listeners: [{ address: "127.0.0.1:0", tls: { certificate: site.crt, private_key: site.key } }]
admin: { address: "unix:${folder}/admin.sock" }
access_log: { file: "${folder}/access.log", format: json }
state_dir: state
api_keys: { header: X-API-Key }
issuer:
  url: ${API}
  scopes:
    read: See products and orders
    write: Change products and orders
    admin: { text: Administer the shop, roles: [operator] }
  device: { interval: 1s }
  applications:
    - { id: shop, name: Shop, site: "${SHOP}", profile: compat, secret_files: [shop.secret], redirect_uris: ["${SHOP}/callback", "${SHOP}/onward"], grants: [authorization_code, refresh_token], scopes: [read, write] }
    - { id: stock, name: Stock Report, site: "${OTHER}", profile: compat, secret_files: [stock.secret], redirect_uris: ["${OTHER}/callback"], grants: [authorization_code, refresh_token], scopes: [read] }
    - { id: tv, name: Television, type: public, profile: strict, grants: ["${DEVICE}", refresh_token] }
    - { id: phone, name: Phone, type: public, profile: strict, redirect_uris: ["com.example.phone:/callback"], grants: [authorization_code, refresh_token] }
upstreams: { app: { url: "unix:${folder}/app.sock" } }
defaults: { upstream: app }
routes:
  - { path: /api/**, access: { scopes: [read] }, cors: { origins: [applications] } }
`;

function run(program, words, options = {}) {
  return new Promise((done, failed) => {
    const settings = { timeout: COMMAND_MS, maxBuffer: 1 << 24, ...options };
    const child = execFile(program, words, settings, (error, stdout, stderr) => {
      if (error) failed(new Error(`${words.slice(0, 3).join(' ')}: ${error.message} ${stdout}${stderr}`));
      else done(stdout.trim());
    });
    // A command that reads nothing may have ended.
    child.stdin.on('error', () => {}).end(options.input ?? '');
  });
}

export class Place {
  constructor(binary, rig) {
    [this.binary, this.rig] = [path.resolve(binary), rig];
    [this.children, this.servers, this.secrets, this.people] = [[], [], new Set([PASSWORD, SHOP_SECRET]), new Map()];
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'gatepost-rig-'));
    /// Pages of the other sites by origin and path, and the requests that arrived there.
    [this.pages, this.seen] = [new Map(), []];
  }

  async start() {
    const { folder } = this;
    const names = [API, SHOP, OTHER].map((origin) => new URL(origin).hostname);
    const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=rig'];
    const alternatives = names.map((name) => `DNS:${name}`).join(',');
    await run('openssl', [...words, '-addext', `subjectAltName=${alternatives}`, '-keyout', 'site.key', '-out', 'site.crt'], { cwd: folder });
    for (const name of ['shop', 'stock']) fs.writeFileSync(path.join(folder, `${name}.secret`), SHOP_SECRET.replace('shop', name), { mode: 0o600 });
    fs.writeFileSync(path.join(folder, 'shop.secret'), SHOP_SECRET, { mode: 0o600 });
    fs.writeFileSync(path.join(folder, 'gatepost.yaml'), config(folder), { mode: 0o600 });
    this.certificate = fs.readFileSync(path.join(folder, 'site.crt'));
    await this.startApi();
    await this.startGatepost();
    this.ports = { [API]: this.port };
    for (const origin of [SHOP, OTHER]) this.ports[origin] = await this.serve(origin);
  }

  spawn(program, words, output) {
    const stream = output ? fs.openSync(path.join(this.folder, output), 'a') : 'inherit';
    const child = spawn(program, words, { cwd: this.folder, stdio: ['ignore', stream, output ? stream : 'inherit'] });
    child.ended = new Promise((ended) => child.once('close', ended));
    child.once('error', (error) => { child.error = error; });
    this.children.push(child);
    return child;
  }

  async startApi() {
    const socket = path.join(this.folder, 'app.sock');
    this.spawn('node', [path.join(this.rig, '..', 'guides', 'api.mjs'), socket]);
    await eventually('the API', () => fs.existsSync(socket));
  }

  async startGatepost() {
    const child = this.spawn(this.binary, ['--log-format', 'json', 'run', '--config', 'gatepost.yaml'], 'gatepost.log');
    const line = /"ready","listeners":"[^"]*?127\.0\.0\.1:(\d+)/;
    const log = () => fs.readFileSync(path.join(this.folder, 'gatepost.log'), 'utf8');
    const found = await eventually('gatepost', () => {
      must(child.exitCode === null && !child.error, `gatepost ended: ${child.error ?? ''}${log().slice(-1500)}`);
      return line.exec(log());
    }, 60_000);
    this.port = Number(found[1]);
  }

  /// A site of its own: pages by path, everything else is empty.
  async serve(origin) {
    const settings = { cert: this.certificate, key: fs.readFileSync(path.join(this.folder, 'site.key')) };
    const server = https.createServer(settings, (request, response) => {
      const { pathname } = new URL(request.url, origin);
      this.seen.push({ origin, method: request.method, url: request.url, headers: request.headers });
      const page = this.pages.get(origin + pathname);
      if (typeof page === 'function') return page(request, response);
      response.setHeader('Content-Type', 'text/html');
      response.end(page ?? '<!doctype html><title>other site</title>');
    });
    await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
    this.servers.push(server);
    return server.address().port;
  }

  /// Standard output of a command on the issuer.
  async command(...words) {
    const text = await run(this.binary, [...words, '--config', 'gatepost.yaml'], { cwd: this.folder });
    for (const secret of text.match(/\bgp_[a-z]+_\w+/g) ?? []) this.secrets.add(secret);
    return text;
  }

  /// A new person, whose login is returned.
  async person(name, ...words) {
    const known = this.people.get(name) ?? 0;
    this.people.set(name, known + 1);
    const login = known ? `${name}-${known + 1}` : name;
    const command = ['user', 'add', '--login', login, '--password-stdin', ...words, '--config', 'gatepost.yaml'];
    await run(this.binary, command, { cwd: this.folder, input: `${PASSWORD}\n` });
    return login;
  }

  /// A request of a program that is no browser: status, fields and text.
  request(method, target, { headers = {}, form } = {}) {
    const body = form ? new URLSearchParams(form).toString() : '';
    const type = form ? { 'Content-Type': 'application/x-www-form-urlencoded', 'Content-Length': body.length } : {};
    const { pathname, search } = new URL(target, API);
    const lookup = (_, options, found) => (options.all ? found(null, [{ address: '127.0.0.1', family: 4 }]) : found(null, '127.0.0.1', 4));
    const settings = { method, host: 'api.example.com', port: this.port, path: pathname + search, lookup, ca: this.certificate, agent: false,
      headers: { Host: 'api.example.com', ...type, ...headers } };
    const answer = new Promise((done, failed) => {
      const sent = https.request(settings, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (piece) => { text += piece; });
        response.on('end', () => done({ status: response.statusCode, headers: response.headers, text }));
      });
      sent.on('error', failed).end(body);
    });
    return within(20_000, `${method} ${target}`, answer);
  }

  /// The status of a request through the gate with a credential.
  async gate(credential) {
    const field = credential.startsWith('gp_key_') ? { 'X-API-Key': credential } : { Authorization: `Bearer ${credential}` };
    return (await this.request('GET', '/api/products', { headers: field })).status;
  }

  async token(form) {
    const answer = await this.request('POST', '/auth/oauth/token', { form });
    const body = JSON.parse(answer.text);
    for (const name of ['access_token', 'refresh_token']) if (body[name]) this.secrets.add(body[name].split('.').pop());
    return { status: answer.status, body };
  }

  /// Files that must hold no secret: logs and the store.
  files() {
    const names = fs.readdirSync(this.folder, { recursive: true }).filter((name) => /\.(log|db|db-wal|jsonl)$/.test(name));
    return names.map((name) => [name, fs.readFileSync(path.join(this.folder, name))]);
  }

  async stop() {
    for (const server of this.servers) {
      server.close();
      server.closeAllConnections();
    }
    for (const child of this.children) if (child.exitCode === null) child.kill('SIGTERM');
    const ended = Promise.all(this.children.map((child) => child.ended));
    await within(30_000, 'the servers to end', ended).catch(() => this.children.forEach((child) => child.kill('SIGKILL')));
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}
