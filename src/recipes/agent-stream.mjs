// An agent for Twilio's media streams, with all that Baton asks of one: it keeps what the stream's start
// brings, writes the handoff, and only then closes its socket, for that is when Twilio asks on. Where a
// real one listens and speaks, this one takes keys: 1 billing, 0 anybody, 9 nothing more is needed.
//
//   1. npm install ws
//   2. PORT=8081 node agent-stream.mjs        behind something that ends TLS: Twilio asks for wss://
//   3. Tell Baton: echo '{"routing":{"mode":"stream","agent_url":"wss://agent.example.com"}}' |
//        baton connector patch CONNECTOR_ID_HERE --settings -
//
// `call_token` is good for this one call: no key is kept here. Node 20 or newer.

import { WebSocketServer } from 'ws';

const BATON = 'BATON_PUBLIC_URL_HERE';

// Two tries of 1.5 seconds are what a caller waits without asking whether anybody is there.
const TRIES = 2;
const TIMEOUT_MS = 1500;
const PAUSE_MS = 200;

const DECISIONS = {
  1: { destination: 'billing', reason: 'BILLING', summary: 'Asks about a bill.' },
  0: { reason: 'SPEAK_TO', summary: 'Wants to speak to somebody.' },
  9: { contained: true, reason: 'SETTLED' },
};

const server = new WebSocketServer({ port: Number(process.env.PORT ?? 8081), maxPayload: 65536 });
server.on('listening', () => console.log(`listening on port ${server.address().port}`));

server.on('connection', (socket) => {
  const call = { isOver: false };
  socket.on('error', (error) => console.error(`${call.sid}: ${error.code ?? error.name}`));
  socket.on('message', (text) => {
    try {
      received(JSON.parse(text), call, socket);
    } catch {
      // Not what Twilio sends.
      socket.close(1007);
    }
  });
});

function received(message, call, socket) {
  switch (message.event) {
    case 'start':
      call.sid = message.start.callSid;
      call.parameters = message.start.customParameters ?? {};
      break;
    case 'media':
      // message.media.payload is the caller: base64 of 8000 Hz mu-law. What is said back is sent as
      // {"event":"media","streamSid":message.streamSid,"media":{"payload":…}}.
      break;
    case 'dtmf':
      decided(DECISIONS[message.dtmf.digit], call, socket);
      break;
    default:
      // `connected`, `mark`, and `stop`: the caller has hung up, and Twilio closes the socket.
  }
}

async function decided(decision, call, socket) {
  if (!decision || !call.parameters || call.isOver) return;
  call.isOver = true;
  const data = { ...decision, language: call.parameters.asr_lang_code };
  const whyNot = await writeHandoff(call.parameters, data);
  // The caller is not kept from the person for want of it.
  if (whyNot) console.error(`${call.sid}: the handoff was not written: ${whyNot}`);
  socket.close(1000);
}

// Says why it could not be written; nothing if it was.
async function writeHandoff({ handoff_url: url, call_token: token }, data) {
  // Whoever opens a socket must not choose where the handoff goes.
  if (!`${url}`.startsWith(`${BATON}/`)) return 'the call has no handoff_url of this Baton';
  let whyNot = '';
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    if (attempt > 0) await new Promise((done) => setTimeout(done, PAUSE_MS));
    try {
      const response = await fetch(url, {
        method: 'PUT',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ data }),
        // A redirect would take the token to wherever it points.
        redirect: 'error',
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (response.ok) return '';
      whyNot = `Baton answered ${response.status}`;
      // Sent again, anything else would be refused again.
      if (response.status !== 429 && response.status !== 503) break;
    } catch (error) {
      // By its name alone: a message may quote the token.
      whyNot = error.cause?.code ?? error.name;
    }
  }
  return whyNot;
}
