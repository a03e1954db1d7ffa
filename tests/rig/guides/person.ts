// A person with Debian's chromium (npm playwright-core), and the server of page.ts: the page sends the
// browser to gatepost, the person signs in and allows the request, and the page reports.
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { chromium } from 'playwright-core';

const { BASE = '', CLIENT_ID = '', CLIENT_SECRET = '', PASSWORD = '', PAGE_PORT = '0', CHROMIUM = '/usr/bin/chromium' } = process.env;
const html = '<!doctype html><title>Shop</title><script type="module" src="/page.js"></script>';
const page_script = await readFile('page.js');
let report: (text: string) => void = () => {};
const reported = new Promise<string>((resolve) => (report = resolve));

const server = http.createServer(async (request, response) => {
  const path = (request.url ?? '').split('?')[0];
  const send = (type: string, body: string | Buffer): void => void response.setHeader('Content-Type', type).end(body);
  if (path === '/page.js') return send('text/javascript', page_script);
  if (path === '/settings') return send('application/json', JSON.stringify({ base: BASE, client: CLIENT_ID, secret: CLIENT_SECRET }));
  if (path === '/results') {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    report(Buffer.concat(pieces).toString());
    return send('text/plain', '');
  }
  return send('text/html', html);
});
await new Promise<void>((resolve) => server.listen(Number(PAGE_PORT), '127.0.0.1', resolve));

// Its sandbox needs rights that a container does not have; all it sees are pages of this rig.
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--proxy-server=direct://'] });
try {
  const page = await browser.newPage();
  await page.goto(`http://localhost:${PAGE_PORT}/`);
  await page.getByLabel('Login').fill('ada');
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('button', { name: 'Allow' }).click();
  console.log(await reported);
} finally {
  await browser.close();
  server.close();
}
