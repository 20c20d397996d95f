// A call's timeline as a picture: one line from left to right, a mark for each step. Gaps are drawn by their
// logarithm, for 0.4 s and four minutes are both to be seen; all calls have the same scale, as far as they fit.
// Places are percentages, so that a picture is as wide as there is room without being drawn again.

const STEPS = {
  voice: 'voice',
  written: 'written',
  asked: 'asked',
  missed: 'missed',
  refused: 'refused',
  read: 'read',
  accepted: 'accepted',
  rendered: 'on screen',
  ended: 'ended',
};
const stepName = (step) => (Object.hasOwn(STEPS, step) ? STEPS[step] : step);
const byWhom = (by) => by.replaceAll('_', ' ');

const LEFT = 3;
const RIGHT = 97;

// The steps by their time, each with `ms` since the first and its place `x`; none nearer to another than `least`.
function placed(steps, least) {
  const sorted = steps
    .map((step) => ({ ...step, ms: Date.parse(step.at) }))
    .filter(({ ms }) => !Number.isNaN(ms))
    .sort((one, other) => one.ms - other.ms);
  if (sorted.length === 0) return [];
  const begin = sorted[0].ms;
  const gaps = sorted.slice(1).map(({ ms }, index) => Math.log1p((ms - sorted[index].ms) / 250));
  const room = RIGHT - LEFT;
  const nearest = Math.min(least, room / Math.max(1, gaps.length));
  const whole = gaps.reduce((sum, gap) => sum + gap, 0);
  const unit = Math.min(3.5, (room - nearest * gaps.length) / (whole || 1));
  let x = LEFT;
  return sorted.map((step, index) => {
    if (index > 0) x += nearest + gaps[index - 1] * unit;
    return { ...step, ms: step.ms - begin, x };
  });
}

function mark({ step, x }, y) {
  const known = Object.hasOwn(STEPS, step) ? step : 'read';
  return drawn('use', { href: `#mark-${known}`, x: `${x.toFixed(2)}%`, y });
}

const stretch = (from, to, y, kind) => drawn('line', {
  class: kind, x1: `${from.toFixed(2)}%`, x2: `${to.toFixed(2)}%`, y1: y, y2: y,
});

const SOON_MS = 2_000;

// From the acceptance until the context was there, or to the end: a person had the call, and nothing to go by.
function blind(row, steps) {
  const accepted = steps.find(({ step }) => step === 'accepted');
  if (!accepted) return null;
  const rendered = steps.find(({ step }) => step === 'rendered');
  if (rendered) return rendered.ms > accepted.ms + SOON_MS ? [accepted.x, rendered.x] : null;
  const end = steps.find(({ step, x }) => step === 'ended' && x > accepted.x);
  return row.flags.includes('connected_blind') ? [accepted.x, end?.x ?? RIGHT] : null;
}

const often = (count) => (count > 1 ? ` ${count} times` : '');

// Since the first step; by tenths as long as they count.
const offset = (ms) => (ms < 99_950 ? `+${(ms / 1000).toFixed(1)} s` : `+${span(ms)}`);

// The same in words.
function inWords(steps, begin = steps[0]) {
  if (steps.length === 0) return 'Nothing is known of its steps';
  const told = steps.map((step) => {
    const when = step === begin ? localTime(step.at) : offset(step.ms);
    return `${stepName(step.step)}${often(step.count)} ${when}${step.by ? ` by ${byWhom(step.by)}` : ''}`;
  });
  return `${told.join('; ')}.`;
}

function line(svg, row, steps, y) {
  if (steps.length > 1) svg.append(stretch(steps[0].x, steps.at(-1).x, y, 'path'));
  const without = blind(row, steps);
  if (without) svg.append(stretch(...without, y, 'blind'));
  for (const step of steps) svg.append(mark(step, y));
}

// Of a row of the list.
function lane(row) {
  const steps = placed(row.steps, 6.5);
  const svg = drawn('svg', { class: 'lane', role: 'img' }, drawn('title', {}, inWords(steps)));
  line(svg, row, steps, 12);
  return svg;
}

// Of the story: with names and times, above and below in turn, so that they have room.
function picture(row) {
  const steps = placed(row.steps, 8.5);
  const svg = drawn('svg', { class: 'picture', role: 'img' }, drawn('title', {}, inWords(steps)));
  svg.style.minWidth = `${steps.length * 4}rem`;
  line(svg, row, steps, 56);
  steps.forEach((step, index) => {
    const above = index % 2 === 0;
    const x = `${step.x.toFixed(2)}%`;
    const side = step.x < 8 ? 'start' : step.x > 92 ? 'end' : 'middle';
    const label = (y, kind, text) => drawn('text', { x, y, class: `${kind} ${side}` }, text);
    svg.append(
      drawn('line', { class: 'stalk', x1: x, x2: x, y1: above ? 34 : 66, y2: above ? 46 : 78 }),
      label(above ? 14 : 91, 'name', `${stepName(step.step)}${step.count > 1 ? ` ×${step.count}` : ''}`),
      label(above ? 29 : 106, 'offset', index === 0 ? localTime(step.at) : offset(step.ms)));
  });
  return svg;
}

// What the marks mean; `missed` and `refused` have shapes of their own.
function legend() {
  const key = (inside, text) => el('span', {},
    drawn('svg', { class: 'key', 'aria-hidden': 'true' }, inside), text);
  return [
    ...Object.keys(STEPS).map((step) => key(drawn('use', { href: `#mark-${step}`, x: 11, y: 11 }), STEPS[step])),
    key(stretch(0, 100, 11, 'blind'), 'taken, not on screen'),
    el('span', {}, 'longer gaps are drawn shorter'),
  ];
}

const OUTCOMES = {
  before: (lead) => `on screen ${lead} before`,
  within_2s: (lead) => `on screen ${lead} after`,
  late: (lead) => `on screen ${lead} late`,
  never: () => 'never on screen',
  open: () => 'not on screen yet',
  unknown: () => '',
};

// Whether the context was there when the person took the call.
function outcome({ outcome: kind, lead_seconds: lead }) {
  if (!Object.hasOwn(OUTCOMES, kind ?? '')) return '';
  return OUTCOMES[kind](lead === null || lead === undefined ? '' : span(lead * 1000)).replace('  ', ' ');
}
