// The application of tests/rig/upstreams.py in Node.js: node app.mjs PORT
import http from 'node:http';

const BLOCK = Buffer.from('0123456789abcdef'.repeat(4096));
const LARGE = 20 * 1024 * 1024;

async function send(response, count) {
  for (let sent = 0; sent < count; sent += BLOCK.length) {
    if (!response.write(BLOCK)) await new Promise((next) => response.once('drain', next));
  }
}

const server = http.createServer(async (request, response) => {
  const path = request.url.split('?')[0];
  if (path === '/large') {
    response.writeHead(200, { 'Content-Length': LARGE });
    await send(response, LARGE);
    response.end();
  } else if (path === '/events') {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    for (let number = 0; number < 5; number++) {
      response.write(`data: ${number}\n\n`);
      await new Promise((next) => setTimeout(next, 300));
    }
    response.end();
  } else if (path === '/trailers') {
    response.writeHead(200, { Trailer: 'X-Sum' });
    response.write('body');
    response.addTrailers({ 'X-Sum': '1' });
    response.end();
  } else if (path === '/die') {
    response.writeHead(200, { 'Content-Length': LARGE });
    await send(response, BLOCK.length);
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), 300);
  } else if (path === '/same') {
    response.writeHead(304, { ETag: '"e"' }).end();
  } else if (path === '/early') {
    response.writeHead(413, { 'Content-Length': 5, Connection: 'close' }).end('large');
  } else {
    let count = 0;
    for await (const piece of request) count += piece.length;
    response.setHeader('X-Trailer-Seen', request.trailers['x-sum'] ?? 'none');
    response.end(String(count));
  }
});
// Short, so that a pooled connection grows stale within the rig's time.
server.keepAliveTimeout = 1000;
server.listen(Number(process.argv[2]), '127.0.0.1');
