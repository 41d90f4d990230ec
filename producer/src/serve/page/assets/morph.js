// Makes a part of the page like another one and keeps the elements that both have, and with them the focus, the scrolling and what is
// unfolded.

/** Makes `from` like `to`. */
export function morph(from, to) {
  if (from.isEqualNode(to)) return;
  if (!isSame(from, to)) {
    from.replaceWith(to.cloneNode(true));
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    from.nodeValue = to.nodeValue;
    return;
  }
  morphAttributes(from, to);
  morphChildren(from, to);
}

function isSame(from, to) {
  return from.nodeName === to.nodeName && (from.id ?? '') === (to.id ?? '');
}

function morphAttributes(from, to) {
  // Whether something is unfolded is up to whoever reads it.
  const isKept = (name) => name === 'open' && from.nodeName === 'DETAILS';
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !isKept(name)) from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value && !isKept(name)) from.setAttribute(name, value);
  }
}

function morphChildren(from, to) {
  const byId = new Map([...from.children].filter(({ id }) => id).map((child) => [child.id, child]));
  let at = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const found = wanted.id ? byId.get(wanted.id) : at;
    if (found && isSame(found, wanted)) {
      // An element that is moved loses the focus, so that the others move around it.
      if (found === at) at = at.nextSibling;
      else if (at && at.contains(document.activeElement)) at.before(found);
      else from.insertBefore(found, at);
      morph(found, wanted);
    } else {
      from.insertBefore(wanted.cloneNode(true), at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
