// The API behind gatepost in the rigs of the guides, in Node.js: node api.mjs SOCKET
// Answers with what arrived. Holds the 100 of an expecting client back for 300 ms, and says whether
// bytes of the body came before it.
import { createHash } from 'node:crypto';
import http from 'node:http';

const sha256 = (data) => createHash('sha256').update(data).digest('hex');

async function parts(request, body) {
  const type = request.headers['content-type'] ?? '';
  if (!type.startsWith('multipart/form-data')) return undefined;
  const form = await new Response(body, { headers: { 'Content-Type': type } }).formData();
  const part = async (value) => (typeof value === 'string' ? value : { name: value.name, size: value.size, sha256: sha256(Buffer.from(await value.arrayBuffer())) });
  return Object.fromEntries(await Promise.all([...form].map(async ([name, value]) => [name, await part(value)])));
}

async function answer(request, response, early) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const body = Buffer.concat(pieces);
  const { method, url, headers } = request;
  const seen = { method, url, headers, size: body.length, early, parts: await parts(request, body) };
  if (headers['content-type'] === 'application/json') seen.json = JSON.parse(body.toString());
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify(seen));
}

const server = http.createServer((request, response) => answer(request, response));
server.on('checkContinue', async (request, response) => {
  const before = request.socket.bytesRead;
  await new Promise((next) => setTimeout(next, 300));
  const early = request.readableLength + request.socket.bytesRead - before;
  response.writeContinue();
  await answer(request, response, early);
});
server.listen(process.argv[2]);
