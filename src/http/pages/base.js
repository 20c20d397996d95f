// What both pages' scripts begin with.

const at = (id) => document.getElementById(id);

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const name in attributes) made.setAttribute(name, attributes[name]);
  made.append(...children);
  return made;
}

// Changes an element only when it is to say something else, for a screen reader tells it again. Whether it did.
function write(element, text) {
  if (element.textContent === text) return false;
  element.textContent = text;
  return true;
}

// Told to those who do not see the page; the same text twice is told twice.
function say(text) {
  const said = at('said');
  said.textContent = '';
  requestAnimationFrame(() => { said.textContent = text; });
}

