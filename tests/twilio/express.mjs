// What Baton is measured against: the same question answered by Express, with Twilio's own middleware set
// up as its documentation says.
//
//   TWILIO_AUTH_TOKEN=… node express.mjs PORT
//
// Answers `GET /twilio/studio/handoff?id=CA…`, signed for https://voice.example.com, from 10 000 handoffs
// of about 2 kB each, in memory: CA and the number from 0 in 32 hex digits. Prints a line when it listens.

import express from 'express';
import twilio from 'twilio';

const COUNT = 10_000;
const port = Number(process.argv[2]);
if (!Number.isInteger(port) || !process.env.TWILIO_AUTH_TOKEN) {
  console.error('usage: TWILIO_AUTH_TOKEN=… node express.mjs PORT');
  process.exit(64);
}
process.env.NODE_ENV = 'production';

function handoff(id) {
  const turns = Array.from({ length: 16 }, (_, turn) => ({
    turn,
    by: turn % 2 === 0 ? 'caller' : 'agent',
    said: `Something about an invoice that was paid twice, and when it comes back (${id.slice(-6)}).`,
  }));
  const data = { reason: 'billing', destination: 'billing', verified: true, priority: 5, turns };
  return { found: true, status: 'ready', action: 'enqueue', id, reason: 'billing', data };
}

const handoffs = new Map();
for (let number = 0; number < COUNT; number += 1) {
  const id = `CA${number.toString(16).padStart(32, '0')}`;
  handoffs.set(id, handoff(id));
}

const app = express();
app.use(express.urlencoded({ extended: false }));
app.use('/twilio', twilio.webhook({ validate: true, protocol: 'https', host: 'voice.example.com' }));
app.get('/twilio/studio/handoff', (request, response) => {
  const { id } = request.query;
  response.json(handoffs.get(id) ?? { found: false, status: 'missing', action: 'fallback', id, data: {} });
});
app.listen(port, '127.0.0.1', (error) => {
  if (error) throw error;
  console.log(`express listens on http://127.0.0.1:${port}`);
});
