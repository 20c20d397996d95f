// What the handoff holds, for those whose key may read it. It is asked for when somebody wants to see it, and
// forgotten with the call. Agents write what callers say, so all of it is text, each in its own direction.

// So many members at a time; there may be 20 000.
const MEMBERS = 200;

const handoff = { asked: 0 };

const many = (count, one) => (count === 1 ? `1 ${one}` : `${count} ${one}s`);

function member({ name, kind, text, fields }) {
  if (!Array.isArray(fields)) {
    const isText = kind === 'string' && text !== '';
    return el('div', { class: 'member' }, theirs(name, 'dt'),
      theirs(text === '' ? 'empty' : text, 'dd', { class: isText ? '' : 'quiet' }));
  }
  const inside = el('dl', { class: 'inside' });
  const holds = el('details', {},
    el('summary', {}, many(fields.length, kind === 'array' ? 'item' : 'member')), inside);
  holds.addEventListener('toggle', () => {
    if (holds.open && !inside.firstChild) members(inside, fields);
  });
  return el('div', { class: 'member' }, theirs(name, 'dt'), el('dd', {}, holds));
}

function members(into, fields, begin = 0) {
  const end = Math.min(fields.length, begin + MEMBERS);
  into.append(...fields.slice(begin, end).map(member));
  if (end === fields.length) return;
  const rest = el('button', { type: 'button' }, `Show more (${fields.length - end})`);
  const part = el('div', { class: 'member' }, el('dt', {}, ''), el('dd', {}, rest));
  rest.addEventListener('click', () => {
    const next = into.childElementCount - 1;
    part.remove();
    members(into, fields, end);
    into.children[next].tabIndex = -1;
    into.children[next].focus();
  });
  into.append(part);
}

const VERIFIED = { true: 'verified', false: 'not verified', unknown: 'not known whether verified' };

function part(title, pairs) {
  const told = pairs.filter(([, value]) => value !== '' && value !== null && value !== undefined);
  if (told.length === 0) return [];
  return [el('h3', {}, title), el('dl', {}, ...told.map(([name, value]) => (
    el('div', { class: 'member' }, el('dt', {}, name), theirs(value, 'dd')))))];
}

function putHandoff(view) {
  const { caller, why, tried, fields, fields_left_out: leftOut } = view;
  const all = el('dl', {});
  members(all, fields);
  at('handoff').replaceChildren(
    el('p', { class: 'quiet' }, `Revision ${view.revision}, written `, time(view.written_at), ', lives until ',
      time(view.expires_at)),
    ...part('Caller', [
      ['Name', caller.name], ['Number', caller.phone], ['Identity', or(VERIFIED, caller.verified)]]),
    ...part('Why', [
      ['Reason', why.reason], ['Summary', why.summary], ['Destination', why.destination],
      ['Priority', why.priority || ''], ['Language', why.language]]),
    ...(tried.length > 0 ? [el('h3', {}, 'Tried'), el('ul', {}, ...tried.map((one) => theirs(one, 'li')))] : []),
    el('h3', {}, 'All of it'), all,
    ...(leftOut > 0 ? [el('p', { class: 'quiet' }, `${leftOut} more are not shown.`)] : []));
}

async function showHandoff() {
  const button = at('handoff-show');
  if (!at('handoff').hidden) {
    forgetHandoff();
    return;
  }
  handoff.asked += 1;
  const { asked } = handoff;
  const { id } = story;
  button.disabled = true;
  try {
    const answer = await ask('handoff', { id });
    if (asked !== handoff.asked) return;
    putHandoff(answer.body);
  } catch (error) {
    if (ended(error) || asked !== handoff.asked) return;
    at('handoff').replaceChildren(el('p', { class: 'notice warn', role: 'alert' }, error.message));
  } finally {
    if (asked === handoff.asked) button.disabled = false;
  }
  show(at('handoff'));
  write(button, 'Hide the handoff');
  button.setAttribute('aria-expanded', 'true');
}

function forgetHandoff() {
  handoff.asked += 1;
  at('handoff').replaceChildren();
  show(at('handoff'), false);
  const button = at('handoff-show');
  button.disabled = false;
  write(button, 'Show the handoff');
  button.setAttribute('aria-expanded', 'false');
}
