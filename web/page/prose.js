// Markdown as the server renders it. The text is somebody else's, so that only elements are taken that are known to do
// nothing, with no attribute but where a link leads.
'use strict';

const PROSE = new Set(('a blockquote br code del em h1 h2 h3 h4 h5 h6 hr img input li ol p pre strong table tbody td th thead tr ul').split(' '));

// prose copies what a text says out of html, which stays inert; pictures are those attached to the cell.
function prose(html, attachments) {
  const inert = new DOMParser().parseFromString(html, 'text/html');
  return [...inert.body.childNodes].map(n => copied(n, attachments ?? {}, 0)).filter(n => n !== null);
}

function copied(node, attachments, depth) {
  if (node.nodeType === Node.TEXT_NODE) return document.createTextNode(node.data);
  const tag = node.localName;
  if (node.nodeType !== Node.ELEMENT_NODE || !PROSE.has(tag) || depth > 100) return null;
  if (tag === 'img') return attached(node, attachments);
  if (tag === 'input') return document.createTextNode(node.hasAttribute('checked') ? '☑ ' : '☐ '); // of a list of tasks
  // A heading of the text stands below those of the page.
  const made = document.createElement(/^h[1-5]$/.test(tag) ? 'h' + (Number(tag[1]) + 1) : tag);
  const leads = tag === 'a' ? node.getAttribute('href') ?? '' : '';
  if (/^(https?:|mailto:)/i.test(leads)) {
    made.setAttribute('href', leads);
    made.setAttribute('rel', 'noopener noreferrer nofollow');
    made.setAttribute('target', '_blank');
  }
  for (const child of node.childNodes) {
    const inner = copied(child, attachments, depth + 1);
    if (inner !== null) made.append(inner);
  }
  return made;
}

// attached is a picture that stands in the notebook; any other is named, for it would have to be fetched.
function attached(node, attachments) {
  const source = node.getAttribute('src') ?? '', name = node.getAttribute('alt') ?? '';
  let file = null;
  try { file = source.startsWith('attachment:') ? attachments[decodeURIComponent(source.slice('attachment:'.length))] : null; } catch { /* no name */ }
  for (const kind of ['image/png', 'image/jpeg', 'image/gif']) {
    if (typeof file?.[kind] === 'string') return el('img', {alt: name, src: `data:${kind};base64,` + file[kind].replace(/\s/g, '')});
  }
  return document.createTextNode(name ? `[${name}]` : '[picture]');
}
