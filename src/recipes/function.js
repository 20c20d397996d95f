// A Twilio Function that hands a call's context from Baton to a Studio flow.
//
//   1. Save it as `handoff.protected.js`: a protected Function answers Twilio alone, a public one
//      everybody who knows a call SID. Node 20 or 22; no dependencies.
//   2. Environment variables of the service:
//        BATON_API_KEY   a key with no more than `handoff:read`
//        BATON_URL       only if Baton is not where this file says
//   3. In the flow, a Run Function widget with the parameter
//        call_sid        {{trigger.call.CallSid}}
//
// It answers JSON that the flow reads as `widgets.NAME.parsed`. `found`, on which to split, and `data`
// are always there:
//
//   200 {"found":true,"id":"CA…","data":{…}}    with `shared_id`, where the handoff has one
//   200 {"found":false,"id":"CA…","data":{}}    nobody has written about this call
//   400, 500, 502, 504 {"found":false,"error":"…","data":{}}    the widget takes `fail`
//
// 400: the flow sent no call SID, or not one. 500: a setting of the Function is wrong. 502: Baton could
// not answer. 504: it did not answer in time. The log tells the rest, by `error_id`.

const DEFAULT_URL = 'https://your-baton-host';
const RECIPE = 'function/1';

// Run Function gives up after 10 s, and a Function may need a second to start.
const DEADLINE_MS = 8000;
// A call is often transferred before its context has arrived; Baton answers as soon as it has.
const WAIT_SECONDS = 3;

exports.handler = async (context, event, callback) => {
  const { status, body, told = '' } = await answer(context, event);
  // One line, with nothing about the caller in it. An error shows up in Twilio's debugger.
  const line = `handoff: ${status} found=${body.found}${told}`;
  if (status === 200) console.log(line);
  else console.error(line);

  const response = new Twilio.Response();
  response.setStatusCode(status);
  response.appendHeader('Content-Type', 'application/json');
  response.appendHeader('X-Baton-Recipe', RECIPE);
  response.setBody(body);
  return callback(null, response);
};

async function answer(context, event) {
  // Studio renders what it does not know as nothing, so an empty call SID is none.
  const id = event.call_sid || event.CallSid;
  if (!id) {
    return failed(400, 'No call SID came. Give the Run Function widget the parameter call_sid, '
      + 'with the value {{trigger.call.CallSid}}.');
  }
  const key = (context.BATON_API_KEY || '').trim();
  // Checked here, because the error that fetch throws over a bad header quotes it.
  if (!/^[\x21-\x7e]+$/.test(key)) {
    return failed(500, 'BATON_API_KEY is not set, or holds what no key holds. Set it in the '
      + 'environment variables of this service, and deploy again.');
  }
  const base = (context.BATON_URL || DEFAULT_URL).trim().replace(/\/+$/, '');
  if (!/^https?:\/\/[^@]+$/.test(base) || !URL.canParse(base)) {
    return failed(500, 'BATON_URL is not a URL such as https://host or https://host/prefix.');
  }
  const query = new URLSearchParams({ id, wait: WAIT_SECONDS, miss: 200 });
  return understood(await ask(`${base}/v1/handoff_state?${query}`, key));
}

// Baton's answer as `{status, text, headers}`, or the `{error}` in whose stead there is none. Asks once
// more where that may help.
async function ask(url, key) {
  const deadline = Date.now() + DEADLINE_MS;
  const init = {
    headers: { 'x-api-key': key, 'x-baton-recipe': RECIPE },
    // A redirect would take the key to wherever it points.
    redirect: 'manual',
    signal: AbortSignal.timeout(DEADLINE_MS),
  };
  for (let mayAskAgain = true; ; mayAskAgain = false) {
    let outcome;
    let pauseSeconds = 0.2;
    try {
      const response = await fetch(url, init);
      const { status, headers } = response;
      outcome = { status, headers, text: await response.text() };
      if (status !== 429 && status !== 503) return outcome;
      pauseSeconds = Number(headers.get('retry-after') ?? pauseSeconds);
    } catch (error) {
      outcome = { error };
      if (error.name === 'TimeoutError') return outcome;
    }
    // Also false for a Retry-After that is a date.
    const isSoon = pauseSeconds <= 1 && Date.now() + pauseSeconds * 1000 < deadline - 1000;
    if (!mayAskAgain || !isSoon) return outcome;
    await new Promise((done) => setTimeout(done, pauseSeconds * 1000));
  }
}

// What to answer the flow.
function understood({ error, status, headers, text }) {
  if (error) {
    const isLate = error.name === 'TimeoutError';
    // The name and code alone: a message may quote the request.
    const told = ` error=${error.cause?.code ?? error.name}`;
    return isLate
      ? failed(504, `Baton did not answer within ${DEADLINE_MS / 1000} seconds.`, told)
      : failed(502, 'Baton could not be reached. Check BATON_URL, and that Baton runs.', told);
  }
  const body = parsed(text);
  const errorId = headers.get('x-polyai-correlation-id') ?? 'none';
  const told = ` baton=${status} error_code=${body?.error_code ?? 'none'} error_id=${errorId}`;
  if (status === 200 && body?.data instanceof Object) {
    const { found = true, id, shared_id, data } = body;
    return { status: 200, body: { found, id, ...(shared_id && { shared_id }), data }, told };
  }
  if (status === 401 || status === 403) {
    return failed(500, 'Baton refused the key of this Function. Set BATON_API_KEY to one that '
      + 'Baton knows, and that may read handoffs.', told);
  }
  const reason = body?.error_message ?? 'it is not how Baton answers. Check BATON_URL';
  return failed(status === 400 ? 400 : 502, `Baton answered ${status}: ${reason}`, told);
}

const failed = (status, error, told) => ({ status, body: { found: false, error, data: {} }, told });

const isBeyond = (whole) => whole > 2n ** 53n || whole < -(2n ** 53n);

// JavaScript rounds integers beyond 2^53. They become strings of the same digits, as in Baton's own
// answer to Studio. The first alternative steps over strings, whatever they hold.
function parsed(text) {
  const exact = text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+-]*/g, (token) => (
    /^-?\d+$/.test(token) && isBeyond(BigInt(token)) ? `"${token}"` : token
  ));
  try {
    return JSON.parse(exact);
  } catch {
    return undefined;
  }
}
