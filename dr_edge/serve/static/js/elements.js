// Small helpers to build the page's elements; text is always set as text, never as markup.

/**
 * Makes an element.
 * @param {string} name tag, with classes after dots: 'p.note'
 * @param {object} properties attributes ('aria-label', 'data-x') or properties (onclick, htmlFor, textContent)
 * @param {...(Node | string | null)} children null is left out
 */
export function make(name, properties = {}, ...children) {
  const [tag, ...classes] = name.split('.');
  const element = document.createElement(tag);
  element.classList.add(...classes);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element && !key.includes('-')) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== ''));
  return element;
}

/** Makes a bar for a value in 0..1, with a mark where a threshold lies. */
export function bar(value, {mark = null, low = false, label = ''} = {}) {
  const share = Math.min(1, Math.max(0, value));
  const fill = document.createElement('i');
  fill.style.width = `${100 * share}%`;
  const element = make(
    low ? 'div.bar.low' : 'div.bar',
    {role: 'img', 'aria-label': label || `${Math.round(100 * share)} %`},
    fill,
  );
  if (mark !== null) {
    const tick = document.createElement('u');
    tick.style.left = `${100 * Math.min(1, Math.max(0, mark))}%`;
    element.append(tick);
  }
  return element;
}

/** Makes a line of name, bar and value. */
export function row(name, value, words, options = {}) {
  return make(
    'div.row',
    {},
    make('span', {textContent: name}),
    bar(value, {...options, label: `${name}: ${words}`}),
    make('span', {textContent: words}),
  );
}

/** Makes a titled group of facts. */
export function fact(title, ...children) {
  return make('div.fact', {}, make('h3', {textContent: title}), ...children);
}
