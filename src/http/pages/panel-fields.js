// --- All data: groups that open, in the order in which the agent wrote them
//
// There may be 20 000 fields: a group is drawn when it is opened, a long list piece by piece. Over an update
// what is drawn stays and only its text changes, so focus, scrolling and what is open stay too.

const PIECE = 200;
const LONG = 600;
const SHOWN_OF_LONG = 400;
const DEEPEST_INDENT = 6;
const FILTER_FROM = 16;
// Groups open by themselves while there are no more fields than this.
const FEW = 60;
const MOST_FOUND = 300;

const isGroup = (field) => field.fields !== undefined;
const TURNS = /[\u202a-\u202e\u2066-\u2069]/;

// How many fields there are, at all depths.
function fieldsIn(fields) {
  return fields.reduce((sum, field) => sum + 1 + (isGroup(field) ? fieldsIn(field.fields) : 0), 0);
}

// What each field is since `old`: 'new' or 'changed'. Whether anything differs.
function compare(fields, old, marks) {
  const before = new Map(old.map((field) => [field.name, field]));
  let differs = fields.length !== old.length;
  for (const field of fields) {
    const was = before.get(field.name);
    if (was === undefined) {
      marks.set(field, 'new');
    } else if (field.kind !== was.kind || field.text !== was.text
        || (isGroup(field) && compare(field.fields, was.fields, marks))) {
      marks.set(field, 'changed');
    } else {
      continue;
    }
    differs = true;
  }
  return differs;
}

// How many values of `fields` are marked.
function marked(fields, marks) {
  return fields.reduce((sum, field) => (
    sum + (isGroup(field) ? marked(field.fields, marks) : Number(marks.has(field)))), 0);
}

// The fields of which the name or the value has `text` in it, within their groups. A group that is found by
// its name is there as a whole.
function filtered(fields, text) {
  const found = [];
  for (const field of fields) {
    if (field.name.toLowerCase().includes(text) || field.text?.toLowerCase().includes(text)) {
      found.push(field);
    } else if (isGroup(field)) {
      const within = filtered(field.fields, text);
      if (within.length > 0) found.push({ ...field, fields: within, whole: field });
    }
  }
  return found;
}

// --- Rows

const nameOf = (field, isItem) => (isItem ? String(Number(field.name) + 1) : field.name);

// The rows of one object or array. `tree` is shared by all of a tree: its marks, and how many rows may still
// open by themselves.
class Level {
  constructor(tree, depth, isArray) {
    Object.assign(this, { tree, depth, isArray, rows: new Map(), most: PIECE });
    this.list = el('dl');
    this.more = button('all', () => this.drawMore());
    this.element = el('div', depth > 0 && depth <= DEEPEST_INDENT ? { class: 'indented' } : {}, this.list, this.more);
  }

  draw(fields) {
    this.fields = fields;
    const left = new Map(this.rows);
    let next = this.list.firstChild;
    for (const field of fields.slice(0, this.most)) {
      const key = `${isGroup(field)} ${field.name}`;
      const row = left.get(key) ?? (isGroup(field) ? new Group(this, field) : new Value(this, field));
      left.delete(key);
      this.rows.set(key, row);
      row.draw(field);
      if (row.element === next) next = next.nextSibling;
      else this.list.insertBefore(row.element, next);
    }
    for (const [key, row] of left) {
      row.element.remove();
      this.rows.delete(key);
    }
    const hidden = fields.length - this.most;
    this.more.hidden = hidden <= 0;
    if (hidden > 0) write(this.more, `Show ${Math.min(PIECE, hidden)} more of ${count(hidden, 'field')}`);
  }

  // The first of them has the focus, for the button moves away under it.
  drawMore() {
    const first = this.fields[this.most];
    this.most += PIECE;
    this.draw(this.fields);
    this.rows.get(`${isGroup(first)} ${first.name}`).button.focus();
  }
}

// Says what a field is since the last update.
function mark(element, tree, field) {
  delete element.dataset.mark;
  const what = tree.marks.get(field.whole ?? field);
  if (what) element.dataset.mark = what;
}

class Value {
  constructor(level, field) {
    this.level = level;
    this.name = el('dt', {}, theirs(nameOf(field, level.isArray)));
    this.text = theirs('');
    this.note = el('span', { class: 'note' });
    this.button = copyButton(nameOf(field, level.isArray), () => this.field.text);
    this.isOpen = false;
    this.all = button('all', () => {
      this.isOpen = !this.isOpen;
      this.draw(this.field);
    });
    const value = el('dd', {}, this.text, this.note, this.all);
    this.element = el('div', { class: 'row' }, this.name, value, el('dd', { class: 'tool' }, this.button));
  }

  draw(field) {
    this.field = field;
    mark(this.name, this.level.tree, field);
    const { kind, text } = field;
    this.text.className = kind === 'string' ? 'theirs' : 'theirs mono';
    this.all.hidden = text.length <= LONG;
    // A pair of surrogates is one character: it is not cut in two.
    const some = () => `${text.slice(0, SHOWN_OF_LONG).replace(/[\ud800-\udbff]$/, '')}…`;
    write(this.text, this.all.hidden || this.isOpen ? text : some());
    write(this.all, this.isOpen ? 'Show less' : `Show all ${count(text.length, 'character')}`);
    this.all.setAttribute('aria-expanded', String(this.isOpen));
    write(this.note, text === '' ? 'empty' : TURNS.test(text) ? 'has hidden direction marks' : '');
  }
}

class Group {
  constructor(level, field) {
    this.level = level;
    this.size = el('span', { class: 'note' });
    const name = theirs(nameOf(field, level.isArray));
    this.button = button('opens', () => this.open(this.body.hidden), name, this.size);
    this.button.setAttribute('aria-expanded', 'false');
    this.name = el('dt', {}, this.button);
    this.body = el('dd', { hidden: '' });
    this.element = el('div', { class: 'group' }, this.name, this.body);
  }

  draw(field) {
    const isFirst = this.field === undefined;
    this.field = field;
    mark(this.button, this.level.tree, field);
    const { length } = field.fields;
    write(this.size, length === 0 ? 'empty' : count(length, field.kind === 'array' ? 'item' : 'field'));
    if (this.inner) this.inner.draw(field.fields);
    const { tree } = this.level;
    if (isFirst && length > 0 && length <= tree.opens) {
      tree.opens -= length;
      this.open(true);
    }
  }

  open(isOpen) {
    this.button.setAttribute('aria-expanded', String(isOpen));
    this.body.hidden = !isOpen;
    if (this.inner || !isOpen) return;
    this.inner = new Level(this.level.tree, this.level.depth + 1, this.field.kind === 'array');
    this.inner.draw(this.field.fields);
    this.body.append(this.inner.element);
  }
}

// --- The whole

// `parts` are the elements of the page that it fills.
class Data {
  constructor(parts) {
    Object.assign(this, { parts, sought: '' });
    this.input = parts.filter.querySelector('input');
    this.input.addEventListener('input', () => {
      clearTimeout(this.soon);
      this.soon = setTimeout(() => this.find(true), 150);
    });
    parts.copy.addEventListener('click', () => this.copyAll());
  }

  // How many values are new or changed since the last time.
  draw(view) {
    const before = this.fields;
    this.fields = view.fields;
    this.marks = new Map();
    if (before) compare(view.fields, before, this.marks);
    const all = fieldsIn(view.fields);
    const { fields_left_out: leftOut } = view;
    if (!this.level) {
      this.level = new Level({ marks: this.marks, opens: all <= FEW ? FEW : 0 }, 0, false);
      this.parts.fields.append(this.level.element);
    }
    this.level.tree.marks = this.marks;
    this.level.draw(view.fields);
    write(this.parts.count, (all + leftOut).toLocaleString('en'));
    this.parts.filter.hidden = all < FILTER_FROM && this.input.value === '';
    this.parts['left-out'].hidden = leftOut === 0;
    write(this.parts['left-out'], `${count(leftOut, 'more field')} in the JSON only.`);
    this.find();
    return before ? marked(view.fields, this.marks) : 0;
  }

  // Shows what the filter lets through; the tree behind it stays as it is.
  find(isToBeSaid = false) {
    const text = this.input.value.trim().toLowerCase();
    const { fields, matches, found } = this.parts;
    fields.hidden = text !== '';
    matches.hidden = found.hidden = text === '';
    if (text !== this.sought) {
      this.sought = text;
      this.matches = new Level({ opens: MOST_FOUND }, 0, false);
      matches.replaceChildren(this.matches.element);
    }
    if (text === '') return;
    const within = filtered(this.fields, text);
    this.matches.tree.marks = this.marks;
    this.matches.draw(within);
    const hits = marked(within, { has: () => true });
    write(found, hits === 0 ? 'No field has that in its name or value.' : `${count(hits, 'value')} found.`);
    if (isToBeSaid) say(found.textContent);
  }

  // As it is kept, byte for byte: numbers would change on their way through a page.
  copyAll() {
    const text = ask('v1/handoff_state').then((answer) => {
      if (answer.status !== 200) throw answer;
      return answer.text;
    });
    return copyFrom(this.parts.copy, text, 'all data');
  }
}
