// The last hour in three small charts: lead time, misses, latency. They are what this one server has counted since
// it started; a minute without requests is shown as one, and no line goes through it.

const hour = { at: 0, text: '' };

// The plot: percentages from left to right, pixels from top to bottom. What the heights mean stands beside it, as
// wide as it is.
const PLOT = { top: 8, bottom: 78 };
const MINUTES = 60;

// The next round number: 1, 2 or 5 with zeros.
function round(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

const figure = (value) => String(Number(value.toPrecision(3)));

const place = (minute) => (minute / MINUTES) * 100;
const percent = (value) => `${value.toFixed(2)}%`;

function axes(svg, scale, { low, high, unit, end }) {
  const y = (value) => PLOT.bottom - ((value - low) / (high - low)) * (PLOT.bottom - PLOT.top);
  for (const value of new Set([low, 0, high])) {
    svg.append(drawn('line', { class: value === 0 ? 'axis' : 'grid', x1: 0, x2: '100%', y1: y(value), y2: y(value) }));
    scale.append(drawn('text', { class: 'label end', x: '100%', y: y(value) + 4 }, `${figure(value)}${unit}`));
  }
  for (const [ago, side] of [[60, 'start'], [30, 'middle'], [0, 'end']]) {
    svg.append(drawn('text', { class: `label ${side}`, x: percent(place(MINUTES - ago)), y: 95 },
      MINUTE.format(end - ago * 60_000)));
  }
  return y;
}

// `draw` gets the minutes, of which each knows its `index` from the left, and where a value stands.
function chart({ name, said, alternative, low = 0, high, unit = '', minutes, end, draw }) {
  const svg = drawn('svg', { class: 'chart', role: 'img' }, drawn('title', {}, alternative));
  const there = new Map(minutes.map((minute) => [minute.index, minute]));
  for (let index = 0; index < MINUTES; index += 1) {
    if (there.get(index)?.requests > 0) continue;
    let width = 1;
    while (index + width < MINUTES && !(there.get(index + width)?.requests > 0)) width += 1;
    svg.append(drawn('rect', {
      class: 'empty', x: percent(place(index)), width: percent(place(index + width) - place(index)),
      y: PLOT.top, height: PLOT.bottom - PLOT.top,
    }));
    index += width - 1;
  }
  const scale = drawn('svg', { class: 'scale', 'aria-hidden': 'true' });
  draw(svg, axes(svg, scale, { low, high, unit, end }));
  return el('figure', {}, el('figcaption', {}, `${name} `, el('b', {}, said)), scale, svg);
}

const middle = ({ index }) => place(index + 0.5);

// Through minutes that follow one another; one that stands alone is a dot.
function curve(svg, minutes, y, name) {
  const there = minutes.filter((minute) => minute[name] !== null);
  there.forEach((minute, index) => {
    const [before, after] = [there[index - 1], there[index + 1]];
    const [x2, y2] = [percent(middle(minute)), y(minute[name])];
    if (before?.index === minute.index - 1) {
      svg.append(drawn('line', { class: name, x1: percent(middle(before)), y1: y(before[name]), x2, y2 }));
    } else if (after?.index !== minute.index + 1) {
      svg.append(drawn('circle', { class: `${name} alone`, cx: x2, cy: y2, r: 2.5 }));
    }
  });
}

const sum = (minutes, name) => minutes.reduce((whole, minute) => whole + minute[name], 0);
const known = (minutes, name) => minutes.map((minute) => minute[name]).filter((value) => value !== null);
const largest = (values) => values.reduce((one, other) => Math.max(one, other), 0);

function leadTime(common) {
  const { minutes } = common;
  const leads = known(minutes, 'lead_p50_seconds');
  const [before, soon, late, never] = ['before', 'within_2s', 'late', 'never'].map((name) => sum(minutes, name));
  const all = before + soon + late + never;
  const said = all === 0 ? 'nobody accepted' : `${before + soon} of ${all} within 2 s, ${never} never`;
  const low = -round(largest(leads.map((value) => -value)));
  const high = round(largest(leads));
  return chart({
    ...common, name: 'Lead time', said, unit: ' s', low: leads.some((value) => value < 0) ? low : 0, high,
    alternative: `Seconds from the acceptance to the context on screen, by minute; below zero it was there before. ${
      all === 0 ? 'Nobody accepted a call in the last hour.'
        : `Before ${before}, within 2 seconds ${soon}, late ${late}, never ${never}.`}`,
    draw: (svg, y) => {
      for (const minute of minutes) {
        const { lead_p50_seconds: lead, never: blinds } = minute;
        const x = percent(middle(minute));
        if (lead !== null) svg.append(drawn('use', { href: lead > 2 ? '#dot-late' : '#dot-good', x, y: y(lead) }));
        if (blinds > 0) svg.append(drawn('text', { class: 'never', x, y: PLOT.top + 8 }, '×'));
      }
    },
  });
}

function misses(common) {
  const { minutes } = common;
  const all = sum(minutes, 'misses');
  const most = largest(minutes.map((minute) => minute.misses));
  const worst = minutes.find((minute) => most > 0 && minute.misses === most);
  return chart({
    ...common, name: 'Misses', said: String(all), high: Math.max(2, round(most)),
    alternative: `Reads that found nothing, by minute. ${all} in the last hour${
      worst ? `, the most ${most} at ${MINUTE.format(new Date(worst.at))}` : ''}.`,
    draw: (svg, y) => {
      for (const minute of minutes.filter((one) => one.misses > 0)) {
        svg.append(drawn('rect', {
          class: 'bar', x: percent(place(minute.index + 0.15)), width: percent(place(0.7)),
          y: y(minute.misses), height: PLOT.bottom - y(minute.misses),
        }));
      }
    },
  });
}

function latency(common) {
  const { minutes } = common;
  const last = minutes.findLast((minute) => minute.p50_ms !== null);
  const slowest = largest(known(minutes, 'p99_ms'));
  return chart({
    ...common, name: 'Latency', unit: ' ms', high: round(slowest),
    said: last ? `p50 ${figure(last.p50_ms)} ms, p99 ${figure(last.p99_ms)} ms` : 'no requests',
    alternative: `Milliseconds from a request to its answer, by minute. ${last
      ? `In the last minute with requests half were answered within ${figure(last.p50_ms)}, 99 of 100 within ${
        figure(last.p99_ms)}; the highest p99 of the hour is ${figure(slowest)}.` : 'There were no requests.'}`,
    draw: (svg, y) => {
      curve(svg, minutes, y, 'p99_ms');
      curve(svg, minutes, y, 'p50_ms');
    },
  });
}

async function refreshHour() {
  if (Date.now() - hour.at < HOUR_MS || !at('hour').open) return;
  hour.at = Date.now();
  const { body, text } = await ask('hour');
  if (text === hour.text) return;
  hour.text = text;
  const end = Math.floor(Date.parse(body.now) / 60_000) * 60_000 + 60_000;
  const minutes = body.minutes
    .map((minute) => ({ ...minute, index: MINUTES - (end - Date.parse(minute.at)) / 60_000 }))
    .filter(({ index }) => index >= 0 && index < MINUTES);
  const common = { minutes, end };
  at('charts').replaceChildren(leadTime(common), misses(common), latency(common));
  const empty = minutes.filter(({ requests }) => requests === 0).length;
  write(at('hour-note'), `What this server alone has counted, since ${localTime(body.since)}. Grey is a minute without `
    + `requests (${empty === 0 ? 'none' : empty} since then); dotted is p99, × a call connected blind.`);
}

function forgetHour() {
  Object.assign(hour, { at: 0, text: '' });
  at('charts').replaceChildren();
  write(at('hour-note'), '');
}
