// Baton's own Function when Baton falters: it runs here, in this process, against a server that answers
// what a check tells it to. The last line is "N passed, N failed"; the exit code is 1 if any failed.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { run } from './checks.mjs';

// As much of Twilio's own as the Function uses.
class Response {
  headers = {};

  setStatusCode(status) { this.status = status; }

  appendHeader(name, value) { this.headers[name] = value; }

  setBody(body) { this.body = body; }
}
globalThis.Twilio = { Response };
const { handler } = createRequire(import.meta.url)('../../src/recipes/function.js');

const KEY = 'a-key-that-nobody-may-see';
const SID = 'CA0123456789abcdef0123456789abcdef';
const FOUND = [200, {}, JSON.stringify({ id: SID, data: { name: 'Zoë' } })];
const BUSY = [503, { 'retry-after': '1' }, '{"error_code":"OVERLOADED","error_message":"Try again"}'];

// Answers each request with the next of `script`, or with the last again and again. `hang` never
// answers, `reset` ends the connection.
async function serving(script, check) {
  const seen = [];
  const server = createServer((request, response) => {
    const step = script[Math.min(seen.length, script.length - 1)];
    seen.push({ at: Date.now(), url: request.url, headers: request.headers });
    if (step === 'reset') request.socket.destroy();
    if (!Array.isArray(step)) return;
    const [status, headers, body] = step;
    response.writeHead(status, headers).end(body);
  });
  await new Promise((listens) => server.listen(0, '127.0.0.1', listens));
  const url = `http://127.0.0.1:${server.address().port}`;
  try {
    await check(url, seen);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

// What the Function logs; the checks tell what they found by `say`.
const LINES = [];
const say = console.log;
console.log = (line) => LINES.push(line);
console.error = console.log;

// Calls the Function; whatever it answers or logs must not hold the key.
async function call(url, { context, event } = {}) {
  let response;
  const settings = { BATON_URL: url, BATON_API_KEY: KEY, ...context };
  await handler(settings, event ?? { call_sid: SID }, (error, given) => {
    assert.equal(error, null);
    response = given;
  });
  assert.ok(!JSON.stringify([response, LINES]).includes('nobody-may'), 'the key is told');
  assert.equal(response.headers['X-Baton-Recipe'], 'function/1');
  assert.equal(typeof response.body.found, 'boolean');
  assert.equal(typeof response.body.data, 'object');
  return response;
}

function assertFails({ status, body }, wanted, error) {
  assert.equal(status, wanted);
  assert.match(body.error, error);
  assert.deepEqual(body, { found: false, error: body.error, data: {} });
}

const checks = [
  ['asks as it should: the id encoded, the key and its own version in headers', () => (
    serving([FOUND], async (url, seen) => {
      const event = { call_sid: 'a&b=c d/é' };
      const { status, body } = await call(`${url}/prefix//`, { event });
      assert.equal(status, 200);
      assert.deepEqual(body, { found: true, id: SID, data: { name: 'Zoë' } });
      const asked = new URL(seen[0].url, url);
      assert.equal(asked.pathname, '/prefix/v1/handoff_state');
      assert.deepEqual([...asked.searchParams], [['id', 'a&b=c d/é'], ['wait', '3'], ['miss', '200']]);
      assert.equal(seen[0].headers['x-api-key'], KEY);
      assert.equal(seen[0].headers['x-baton-recipe'], 'function/1');
    }))],

  ['asks once more after Retry-After', () => (
    serving([BUSY, FOUND], async (url, seen) => {
      assert.equal((await call(url)).status, 200);
      assert.ok(seen[1].at - seen[0].at >= 990);
    }))],

  ['asks once more when the connection breaks', () => (
    serving(['reset', FOUND], async (url, seen) => {
      assert.equal((await call(url)).status, 200);
      assert.equal(seen.length, 2);
    }))],

  ['asks no third time', () => (
    serving([BUSY], async (url, seen) => {
      assertFails(await call(url), 502, /^Baton answered 503: Try again$/);
      assert.equal(seen.length, 2);
    }))],

  ['does not ask again where Retry-After is too long, or a date', async () => {
    for (const retryAfter of ['2', 'Sun, 22 Nov 2026 12:00:00 GMT']) {
      await serving([[429, { 'retry-after': retryAfter }, '{}']], async (url, seen) => {
        assertFails(await call(url), 502, /^Baton answered 429: /);
        assert.equal(seen.length, 1);
      });
    }
  }],

  ['gives up in time when Baton hangs, also at the second try', async () => {
    await Promise.all([['hang'], ['reset', 'hang']].map((script) => (
      serving(script, async (url) => {
        const began = Date.now();
        assertFails(await call(url), 504, /within 8 seconds/);
        assert.ok(Date.now() - began < 8500);
      }))));
  }],

  ['takes its key nowhere else: no redirect is followed', () => (
    serving([FOUND], (elsewhere, taken) => (
      serving([[302, { location: elsewhere }, '']], async (url) => {
        assertFails(await call(url), 502, /^Baton answered 302: .*BATON_URL/);
        assert.equal(taken.length, 0);
      }))))],

  ['tells what does not come from Baton', async () => {
    for (const body of ['', '<html>', '[]', 'null', '{"data":null}', '{"data":"x"}']) {
      await serving([[200, {}, body]], async (url) => {
        assertFails(await call(url), 502, /^Baton answered 200: .*BATON_URL/);
      });
    }
  }],

  ['a refused key is a fault of the settings', async () => {
    for (const status of [401, 403]) {
      await serving([[status, {}, `{"error_message":"${KEY}"}`]], async (url) => {
        assertFails(await call(url), 500, /BATON_API_KEY/);
      });
    }
  }],

  ['a key that no header can hold is told apart, and not quoted', async () => {
    for (const BATON_API_KEY of [undefined, '', ' ', `${KEY}\n${KEY}`, `${KEY}é`, `${KEY}”`]) {
      const given = await call('http://127.0.0.1:1', { context: { BATON_API_KEY } });
      assertFails(given, 500, /BATON_API_KEY/);
    }
  }],

  ['a key with a line end behind it is taken', () => (
    serving([FOUND], async (url) => {
      const context = { BATON_API_KEY: `${KEY}\r\n` };
      assert.equal((await call(url, { context })).status, 200);
    }))],

  ['a URL that is none is a fault of the settings', async () => {
    for (const url of ['baton.example', 'ftp://baton.example', 'https://', 'https://a:b@c']) {
      assertFails(await call(url), 500, /BATON_URL/);
    }
  }],

  ['without a setting it asks where the file says', async () => {
    const realFetch = globalThis.fetch;
    const asked = [];
    globalThis.fetch = async (url) => {
      asked.push(url.split('/v1/')[0]);
      throw new TypeError('fetch failed');
    };
    try {
      assertFails(await call(undefined), 502, /BATON_URL/);
    } finally {
      globalThis.fetch = realFetch;
    }
    assert.deepEqual(asked, ['https://your-baton-host', 'https://your-baton-host']);
  }],

  ['rounds no integer, and changes nothing else', async () => {
    const kept = '{"s":"a\\"99999999999999999999\\\\","f":1.5e3,"n":-0,"safe":-9007199254740991}';
    const text = `{"id":"${SID}","data":{"exact":9007199254740992,"big":[9007199254740993,-99999999999999999999],"kept":${kept}}}`;
    await serving([[200, {}, text]], async (url) => {
      const { data } = (await call(url)).body;
      assert.equal(data.exact, 9007199254740992);
      assert.deepEqual(data.big, ['9007199254740993', '-99999999999999999999']);
      assert.deepEqual(data.kept, JSON.parse(kept));
    });
  }],

  ['logs one line a call, without the call in it', async () => {
    LINES.length = 0;
    const refused = [400, { 'x-polyai-correlation-id': 'e-1' }, '{"error_code":"INVALID_ID"}'];
    await serving([refused, FOUND], async (url) => {
      await call(url);
      await call(url);
    });
    assert.deepEqual(LINES, [
      'handoff: 400 found=false baton=400 error_code=INVALID_ID error_id=e-1',
      'handoff: 200 found=true baton=200 error_code=none error_id=none',
    ]);
  }],
];

await run(checks, say);
