// The page behind a link. It shows what a snapshot's manifest and notebook say:
// all of that was written by somebody else, so that text becomes text nodes
// only, and HTML is shown in frames that may do nothing.
'use strict';

const share = location.pathname.split('/').pop();
const base = new URL('..', location.href).pathname.replace(/\/$/, '');
const token = location.hash.slice(1);
const main = document.getElementById('main');

function el(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) e.setAttribute(name, value);
  e.append(...children.filter(c => c !== null && c !== undefined));
  return e;
}

async function get(what) {
  const response = await fetch(`${base}/api/v1/shares/${share}/${what}`, {headers: {Authorization: 'Bearer ' + token}, cache: 'no-store'});
  if (!response.ok) {
    let why = response.statusText;
    try { why = (await response.json()).error; } catch { /* the status says enough */ }
    throw new Error(why);
  }
  return response;
}

const bytes = n => {
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (n < 1024 || unit === 'GiB') return `${unit === 'B' ? n : n.toFixed(1)} ${unit}`;
    n /= 1024;
  }
};
const text = t => Array.isArray(t) ? t.join('') : String(t ?? '');
const plain = t => text(t).replace(/\x1b\[[0-9;]*[A-Za-z]/g, '');
const seconds = s => s < 10 ? s.toFixed(2) + ' s' : Math.round(s) + ' s';

// frameless takes frames out of HTML: this page's policy shows none, but Chromium calls their servers all the same.
function frameless(html) {
  const inert = new DOMParser().parseFromString(html, 'text/html');
  for (const e of inert.querySelectorAll('iframe, frame, frameset, object, embed, fencedframe')) e.remove();
  return inert.documentElement.innerHTML;
}

// frame shows HTML of somebody else: no script, no form, no origin of ours, and by the policy of this page nothing is loaded.
function frame(html) {
  const rows = (html.match(/<(tr|p|div|li|h\d|br)\b/gi) ?? []).length;
  return el('iframe', {sandbox: '', referrerpolicy: 'no-referrer', loading: 'lazy', title: 'output', height: String(Math.min(480, 70 + 27 * rows)),
    srcdoc: '<!doctype html><meta charset="utf-8"><style>body{font:13px system-ui,sans-serif;margin:4px}table{border-collapse:collapse}td,th{padding:2px 8px;text-align:right}</style>' + frameless(html)});
}

function shown(data) {
  for (const kind of ['image/png', 'image/jpeg', 'image/gif']) {
    if (data[kind]) return el('img', {alt: plain(data['text/plain']).slice(0, 200), src: `data:${kind};base64,` + text(data[kind]).replace(/\s/g, '')});
  }
  if (data['image/svg+xml']) return el('img', {alt: 'drawing', src: 'data:image/svg+xml;charset=utf-8,' + encodeURIComponent(text(data['image/svg+xml']))});
  if (data['text/html']) return frame(text(data['text/html']));
  return el('pre', null, plain(data['text/plain'] ?? data['text/markdown'] ?? data['text/latex'] ?? '(' + Object.keys(data).join(', ') + ')'));
}

function output(o) {
  if (o.output_type === 'stream') return el('pre', o.name === 'stderr' ? {class: 'error'} : null, plain(o.text));
  if (o.output_type === 'error') return el('pre', {class: 'error'}, plain((o.traceback ?? []).join('\n') || `${o.ename}: ${o.evalue}`));
  return shown(o.data ?? {});
}

function cell(c, step) {
  const source = text(c.source);
  const parts = [];
  if (step) parts.push(el('div', {class: 'step'}, step));
  if (c.cell_type !== 'code') {
    for (const line of source.split(/\n{2,}/)) {
      const heading = /^(#{1,6})\s+(.*)/.exec(line);
      parts.push(heading ? el('h2', null, heading[2]) : el('p', null, line));
    }
  } else {
    parts.push(el('pre', {class: 'code'}, source));
    for (const o of Array.isArray(c.outputs) ? c.outputs : []) parts.push(el('div', {class: 'output'}, output(o)));
  }
  return el('div', {class: 'cell'}, ...parts);
}

function notebook(doc) {
  let last = '';
  return el('section', {id: 'notebook'}, ...(Array.isArray(doc.cells) ? doc.cells : []).map(c => {
    const tags = Array.isArray(c.metadata?.tags) ? c.metadata.tags.map(String) : [];
    const tag = tags.map(t => /^(?:step|block):(.+)/.exec(t)?.[1]).find(Boolean) ?? '';
    const named = tag && tag !== last;
    last = tag || last;
    return cell(c, named ? tag : '');
  }));
}

function table(id, title, head, rows) {
  if (rows.length === 0) return null;
  return el('section', {id}, el('h2', null, title), el('div', {class: 'scroll'}, el('table', null,
    el('thead', null, el('tr', null, ...head.map(h => el('th', null, h)))),
    el('tbody', null, ...rows.map(row => el('tr', null, ...row.map(v => v instanceof Node ? el('td', {class: 'wide'}, v) :
      el('td', {class: typeof v === 'number' ? 'number' : 'wide'}, String(v ?? '')))))))));
}

function file(f) {
  if (f.type !== 'file') return f.type === 'link' ? `${f.path} → ${f.target}` : f.path + '/';
  const box = el('div', null);
  const button = el('button', {type: 'button'}, f.path);
  button.addEventListener('click', async () => {
    if (box.childElementCount > 1) return box.lastElementChild.remove();
    let body;
    try { body = await (await get('content?path=' + encodeURIComponent(f.path))).text(); } catch (e) { body = e.message; }
    box.append(el('pre', {class: 'code'}, /[\0\ufffd]/.test(body) ? `(${bytes(f.size)} that are no text)` : body));
  });
  box.append(button);
  return box;
}

function page(view, doc) {
  const ran = view.cells.filter(c => c.status === 'ran').length;
  document.title = view.notebook.split('/').pop() + ' · Kedge';
  const address = `kedge open '${location.href}'`;
  const sections = [
    table('variables', 'Variables', ['name', 'type', 'shape', 'size', 'value'], view.variables.map(v => [v.name, v.reason ? 'not captured' : v.type,
      v.shape?.length ? v.shape.join(' × ') : v.length ?? '', v.reason ? '' : bytes(v.size), v.reason || v.shown])),
    table('files', 'Files', ['file', 'size', 'from'], view.files.map(f => [file(f), f.type === 'file' ? bytes(f.size ?? 0) : '', f.path === view.notebook ? 'the notebook' : f.read ? 'read' : 'written'])),
    table('steps', 'What led here', ['step', 'cell', 'status', 'took', 'when'], view.cells.map(c => [c.step, c.id, c.status, seconds(c.seconds), new Date(c.created).toLocaleString()])),
    table('environment', 'Environment', ['package', 'version'], Object.entries(view.environment).sort(([a], [b]) => a < b ? -1 : 1)),
    table('imports', 'What its values name', ['name'], view.imports.map(i => [i])),
  ].filter(Boolean);
  main.replaceChildren(
    el('h1', null, view.notebook),
    el('p', {id: 'state', class: 'banner', hidden: ''}),
    el('p', {class: 'facts'}, `Shared by ${view.author || 'nobody named'} on ${new Date(view.created).toLocaleString()}, ${ran} cells ran and ${view.cells.length - ran} were restored, ${bytes(view.bytes)}. Signed by `, el('code', null, view.key), '.'),
    el('div', {class: 'open'}, el('pre', null, address)),
    el('nav', null, ...sections.map(s => el('a', {href: '#' + s.id, 'data-to': s.id}, s.firstChild.textContent))),
    notebook(doc), ...sections);
  // The fragment of the address is what lets in: it stays.
  for (const a of document.querySelectorAll('nav a')) {
    a.addEventListener('click', e => { e.preventDefault(); document.getElementById(a.dataset.to).scrollIntoView(); });
  }
}

// watch tells when the share ends while somebody looks at it.
function watch() {
  const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}${base}/api/v1/shares/${share}/events`);
  socket.addEventListener('open', () => socket.send(token));
  socket.addEventListener('message', m => {
    const what = {revoked: 'This link was revoked.', expired: 'This link has expired.'}[JSON.parse(m.data).event];
    const state = document.getElementById('state');
    if (what && state) { state.textContent = what; state.hidden = false; }
  });
}

async function start() {
  try {
    const view = await (await get('view')).json();
    page(view, await (await get('content?path=' + encodeURIComponent(view.notebook))).json());
    watch();
  } catch (e) {
    main.replaceChildren(el('p', {id: 'state', class: 'banner'}, token ? `This cannot be shown: ${e.message}.` : 'The address is not whole: what follows # is missing.'));
  }
}
start();
