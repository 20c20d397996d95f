// An agent for Twilio's ConversationRelay, which does the listening and the speaking: this one gets text
// and answers text. It needs neither token nor URL. What it ends with, `handoffData`, Twilio brings to
// Baton with the action of <Connect>, and Baton keeps it as the handoff.
//
//   1. npm install ws
//   2. PORT=8082 node agent-relay.mjs         behind something that ends TLS: Twilio asks for wss://
//   3. TwiML for the number, in a TwiML Bin or from your own server:
//
//        <Response>
//          <Connect action="BATON_PUBLIC_URL_HERE/twilio/handoff/CONNECTOR_ID_HERE" method="POST">
//            <ConversationRelay url="wss://agent.example.com" welcomeGreeting="Hello. What is it about?"/>
//          </Connect>
//        </Response>
//
// Twilio keeps handoffData in its logs: no card numbers there. Node 20 or newer.

import { WebSocketServer } from 'ws';

// In the place of a language model. The first that fits counts.
const DECISIONS = [
  [/\b(bill|invoice|charge)/i, { destination: 'billing', reason: 'BILLING' }],
  [/\b(person|human|agent|somebody)\b/i, { reason: 'SPEAK_TO' }],
  [/\b(bye|thank)/i, { contained: true, reason: 'SETTLED' }],
];

const server = new WebSocketServer({ port: Number(process.env.PORT ?? 8082), maxPayload: 65536 });
server.on('listening', () => console.log(`listening on port ${server.address().port}`));

server.on('connection', (socket) => {
  const call = { said: [], isOver: false };
  socket.on('error', (error) => console.error(`${call.sid}: ${error.code ?? error.name}`));
  socket.on('message', (text) => {
    try {
      received(JSON.parse(text), call, (answer) => socket.send(JSON.stringify(answer)));
    } catch {
      // Not what Twilio sends.
      socket.close(1007);
    }
  });
});

function received(message, call, send) {
  switch (message.type) {
    case 'setup':
      call.sid = message.callSid;
      break;
    case 'prompt':
      heard(message, call, send);
      break;
    case 'error':
      console.error(`${call.sid}: ${message.description}`);
      break;
    default:
      // `interrupt`: the caller spoke over an answer; `dtmf`: a key.
  }
}

function heard({ voicePrompt, lang, last }, call, send) {
  // A prompt that is not the last is repeated in full once more is heard.
  if (last === false || call.isOver) return;
  call.said.push(voicePrompt);
  const decision = DECISIONS.find(([words]) => words.test(voicePrompt))?.[1];
  if (!decision) {
    send({ type: 'text', token: 'What can I do for you?', last: true });
    return;
  }
  call.isOver = true;
  const summary = `The caller said: ${call.said.join(' / ')}`.slice(0, 800);
  // A text that holds JSON. After it Twilio closes the socket and asks for the action.
  send({ type: 'end', handoffData: JSON.stringify({ ...decision, language: lang, summary }) });
}
