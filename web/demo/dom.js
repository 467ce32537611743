// The smallest helper that makes building elements readable.

/** el('p', { className: 'note' }, 'text', child): properties, then children; empty children are left out. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-')) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child != null && child !== false && child !== ''));
  return element;
}

export const $ = (id) => document.getElementById(id);
