// Reads HTTP messages with llhttp, the parser of Node.js, in its strict mode. For tests/rig/readers.py.
//
// A line of standard input is JSON: `raw` (Latin-1) and, for responses, `methods` of the requests.
// The answer is a line of JSON: `messages` and, where the reading ended early, `error`.

import readline from 'node:readline';

process.removeAllListeners('warning');
process.on('warning', () => {});
const { HTTPParser, allMethods } = process.binding('http_parser');

function read(raw, methods) {
  const messages = [];
  let message = null, fields = [], target = '', answered = 0;
  const parser = new HTTPParser();
  parser.initialize(methods ? HTTPParser.RESPONSE : HTTPParser.REQUEST, {}, 1 << 20, 0);
  const collect = (list) => { for (let i = 0; i < list.length; i += 2) fields.push([list[i].toLowerCase(), list[i + 1]]); };
  parser[HTTPParser.kOnHeaders] = (list, url) => {
    // More than 32 fields arrive in portions; trailers arrive here as well, and are dropped.
    if (message && !message.complete) return;
    target += url;
    collect(list);
  };
  parser[HTTPParser.kOnHeadersComplete] = (major, minor, list, method, url, status) => {
    if (list) collect(list);
    message = { version: `${major}.${minor}`, fields, body: '', complete: false };
    if (methods) message.status = status;
    else Object.assign(message, { method: allMethods[method], target: url || target });
    messages.push(message);
    fields = [];
    target = '';
    if (!methods || status < 200) return 0;
    return methods[answered++] === 'HEAD' ? 1 : 0;
  };
  parser[HTTPParser.kOnBody] = (piece) => { message.body += piece.toString('latin1'); };
  parser[HTTPParser.kOnMessageComplete] = () => { message.complete = true; fields = []; };
  const bytes = Buffer.from(raw, 'latin1');
  let outcome = bytes.length ? parser.execute(bytes) : 0;
  let error = outcome instanceof Error ? `${outcome.code} ${outcome.reason ?? ''}` : null;
  if (!error) {
    outcome = parser.finish();
    error = outcome instanceof Error ? `${outcome.code} at the end` : null;
  }
  return { messages, error };
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { raw, methods } = JSON.parse(line);
  process.stdout.write(JSON.stringify(read(raw, methods)) + '\n');
}
