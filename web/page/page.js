// The page behind a link. It shows what a snapshot's manifest and notebook say:
// all of that was written by somebody else, so that text becomes text nodes
// only, and HTML is shown in frames that may do nothing.
'use strict';

const share = location.pathname.split('/').pop();
const base = new URL('..', location.href).pathname.replace(/\/$/, '');
const token = location.hash.slice(1);
const main = document.getElementById('main');
const FIRST = 20; // cells that are shown before the others

function el(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) e.setAttribute(name, value);
  e.append(...children.filter(c => c !== null && c !== undefined));
  return e;
}

function svg(tag, attributes, ...children) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes ?? {})) e.setAttribute(name, value);
  e.append(...children.filter(c => c !== null && c !== undefined));
  return e;
}

async function get(what, more) {
  const response = await fetch(`${base}/api/v1/shares/${share}/${what}`, {headers: {Authorization: 'Bearer ' + token, ...more}, cache: 'no-store'});
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
const when = t => new Date(t).toLocaleString();
const form = v => v.shape?.length ? v.shape.join(' × ') : v.length === undefined ? '' : String(v.length);
const seconds = s => s < 10 ? s.toFixed(2) + ' s' : Math.round(s) + ' s';

// frameless takes frames out of HTML: this page's policy shows none, but Chromium calls their servers all the same.
function frameless(html) {
  const inert = new DOMParser().parseFromString(html, 'text/html');
  for (const e of inert.querySelectorAll('iframe, frame, frameset, object, embed, fencedframe')) e.remove();
  return inert.documentElement.innerHTML;
}

// frame shows HTML of somebody else: no script, no form, no origin of ours, and by the policy of this page nothing is loaded.
// It is made when it comes near the screen, for each is a page of its own.
function frame(html) {
  const rows = (html.match(/<tr\b/gi) ?? []).length || (html.match(/<(p|div|li|h\d|br)\b/gi) ?? []).length;
  const height = String(Math.min(480, 40 + 22 * rows)); // a guess: a frame without an origin cannot be measured
  const place = el('div', {class: 'frame', style: `height: ${height}px`});
  waiting.set(place, () => el('iframe', {sandbox: '', referrerpolicy: 'no-referrer', title: 'output', height,
    srcdoc: '<!doctype html><meta charset="utf-8"><style>body{font:13px system-ui,sans-serif;margin:4px}table{border-collapse:collapse}td,th{padding:2px 8px;text-align:right}</style>' + frameless(html)}));
  return place;
}

const waiting = new Map(); // place → what makes the frame that goes there
const near = new IntersectionObserver(seen => {
  for (const {target, isIntersecting} of seen) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    target.replaceWith(waiting.get(target)());
    waiting.delete(target);
  }
}, {rootMargin: '600px'});

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
  if (c.cell_type === 'markdown') {
    const place = el('div', {class: 'prose'}, ...source.split(/\n{2,}/).map(line => {
      const heading = /^(#{1,6})\s+(.*)/.exec(line);
      return heading ? el('h2', null, heading[2]) : el('p', null, line);
    }));
    written.push([place, c.attachments]);
    parts.push(place);
  } else if (c.cell_type !== 'code') {
    parts.push(el('pre', null, source));
  } else {
    parts.push(el('pre', {class: 'code'}, source));
    for (const o of Array.isArray(c.outputs) ? c.outputs : []) parts.push(el('div', {class: 'output'}, output(o)));
  }
  return el('div', {class: 'cell'}, ...parts);
}

const places = new Map(); // cell id → where it stands in the page
const written = []; // [where a Markdown cell stands as it was written, its attachments], in order

// render puts what the Markdown cells say in the place of how they were written, which stays where there is no such thing.
async function render() {
  if (!written.length) return;
  try {
    const [all] = await Promise.all([get('prose').then(r => r.json()), script('prose.js')]);
    all.forEach((html, i) => { if (html !== null) written[i][0].replaceChildren(...prose(html, written[i][1])); });
  } catch { /* it can be read as it is */ }
  performance.mark('prose');
}

// cellsOf makes those of a notebook, one when it is asked for one.
function* cellsOf(doc) {
  let last = '';
  for (const c of Array.isArray(doc.cells) ? doc.cells : []) {
    const tags = Array.isArray(c.metadata?.tags) ? c.metadata.tags.map(String) : [];
    const tag = tags.map(t => /^(?:step|block):(.+)/.exec(t)?.[1]).find(Boolean) ?? '';
    const named = tag && tag !== last;
    last = tag || last;
    const element = cell(c, named ? tag : '');
    if (typeof c.id === 'string') places.set(c.id, element);
    yield element;
  }
}

function table(head, rows) {
  return el('div', {class: 'scroll'}, el('table', null,
    el('thead', null, el('tr', null, ...head.map(h => el('th', null, h)))),
    el('tbody', null, ...rows.map(row => el('tr', null, ...row.map(v => el('td', {class: (v instanceof Node ? v.textContent : String(v)).length > 18 ? 'wide' : 'short'},
      v instanceof Node ? v : String(v ?? ''))))))));
}

function section(id, title, ...children) {
  return el('section', {id}, el('h2', null, title), ...children);
}

// folded is shown when somebody asks for it; make builds it then.
function folded(summary, make) {
  const details = el('details', null, el('summary', null, ...summary));
  details.addEventListener('toggle', () => { if (details.childElementCount < 2) details.append(make()); });
  return details;
}

// file has a preview below its name, as the server has read it: a text, rows, or a picture.
function file(f) {
  const box = el('div', null);
  const button = el('button', {type: 'button', 'aria-expanded': 'false'}, f.path);
  button.addEventListener('click', async () => {
    const open = box.childElementCount < 2;
    button.setAttribute('aria-expanded', String(open));
    if (!open) return box.lastElementChild.remove();
    const place = el('div', {class: 'preview'}, '…');
    box.append(place);
    try {
      const p = await (await get('preview?path=' + encodeURIComponent(f.path))).json();
      place.replaceChildren(...preview(p, f));
    } catch (e) { place.textContent = e.message; }
  });
  box.append(button);
  return box;
}

const pictures = ['image/png', 'image/jpeg', 'image/gif', 'image/svg+xml'];

function preview(p, f) {
  const more = p.whole ? null : el('p', {class: 'facts'}, `The beginning of ${bytes(f.size ?? 0)}.`);
  if (p.kind === 'table') return [table(p.rows[0], p.rows.slice(1)), p.text ? el('p', {class: 'facts'}, p.text) : more].filter(Boolean);
  if (p.kind === 'picture' && pictures.includes(p.type)) return [el('img', {alt: f.path, src: `data:${p.type};base64,${p.data}`})];
  if (p.kind === 'text') return [el('pre', {class: 'code'}, p.text ?? ''), more].filter(Boolean);
  return [el('p', {class: 'facts'}, `${bytes(f.size ?? 0)}: ${p.why || 'it cannot be shown'}.`)];
}

function files(view) {
  return section('files', 'Files', table(['file', 'size', 'from'], view.files.map(f => [
    f.type === 'file' ? file(f) : f.type === 'link' ? `${f.path} → ${f.target}` : f.path + '/',
    f.type === 'file' ? bytes(f.size ?? 0) : '', f.path === view.notebook ? 'the notebook' : f.read ? 'read' : 'written'])));
}

// steps shows what led here: the graph, where the server lays it out, and the cells.
function steps(view) {
  const go = step => places.get(view.cells.find(c => c.step === step)?.id)?.scrollIntoView();
  const changed = c => c.known ? [...c.variables, ...c.deleted.map(n => '−' + n), ...c.files].join(', ') : '';
  return section('steps', 'What led here', view.graph?.boxes.length ? el('div', {class: 'scroll'}, graph(view.graph, go)) : null,
    folded([`${view.cells.length} cells`], () => table(['step', 'cell', 'status', 'took', 'when', 'changed'],
      view.cells.map(c => [c.step, c.id, c.status, seconds(c.seconds), when(c.created), changed(c)]))));
}

function graph(g, go) {
  const picture = svg('svg', {width: g.width, height: g.height, viewBox: `0 0 ${g.width} ${g.height}`, role: 'img', 'aria-label': 'the step graph'},
    svg('defs', null, svg('marker', {id: 'tip', viewBox: '0 0 8 8', refX: 8, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto'}, svg('path', {d: 'M0 0 8 4 0 8z'}))));
  for (const a of g.arrows) {
    const [x1, y1, ...rest] = a.curve;
    const line = svg('path', {d: `M${x1} ${y1} C${rest.join(' ')}`, 'marker-end': 'url(#tip)'});
    if (a.dashed) line.setAttribute('stroke-dasharray', '5 4');
    picture.append(svg('g', {class: 'edge'}, svg('title', null, a.title), line,
      svg('text', {x: a.label_x, y: a.label_y, 'text-anchor': 'middle'}, a.label)));
  }
  for (const b of g.boxes) {
    const box = svg('g', {class: 'box', role: 'link', tabindex: 0}, svg('rect', {x: b.x, y: b.y, width: b.width, height: b.height, rx: 7}),
      svg('text', {x: b.x + b.width / 2, y: b.y + b.height / 2 + 4.5, 'text-anchor': 'middle'}, b.step));
    box.addEventListener('click', () => go(b.step));
    box.addEventListener('keydown', e => { if (e.key === 'Enter') go(b.step); });
    picture.append(box);
  }
  return picture;
}

function environment(view) {
  const packages = Object.entries(view.environment).sort(([a], [b]) => (b === 'python') - (a === 'python') || (a < b ? -1 : 1));
  return section('environment', 'Environment', folded([view.environment.python ? `Python ${view.environment.python.split(' ')[0]}` : 'Packages', `, ${packages.length} names and versions`],
    () => table(['package', 'version'], packages)));
}

function head(view) {
  const ran = view.cells.filter(c => c.status === 'ran').length;
  document.title = view.notebook.split('/').pop() + ' · Kedge';
  const facts = [el('p', {class: 'facts'}, `Shared by ${view.author || 'nobody named'} on ${when(view.created)}, ${ran} cells ran and ${view.cells.length - ran} were restored, ${bytes(view.bytes)}. Signed by `,
    el('code', null, view.key), '.')];
  const parent = view.parent ? [', made after ', el('code', {title: view.parent}, view.parent.slice(0, 12))] : [];
  facts.push(el('p', {class: 'facts'}, 'Snapshot ', el('code', {title: view.snapshot}, view.snapshot.slice(0, 12)), ...parent, view.expires ? `; the link is good until ${when(view.expires)}.` : '.'));
  if (view.sizes) {
    const last = view.cells.length < 2 ? 'it needs' : 'of which only it needs';
    facts.push(el('p', {class: 'facts', id: 'sizes'}, `This snapshot is of ${bytes(view.sizes.logical)}, ${last} ${bytes(view.sizes.own)}${view.cells.length < 2 ? '' : ', and the one before it the rest'}.`));
  }
  return [el('h1', null, view.notebook), el('p', {id: 'state', class: 'banner', hidden: ''}), ...facts,
    el('div', {class: 'open'}, el('pre', null, `kedge open '${location.href}'`))];
}

// painted ends after the frame in which what is there now is shown.
const painted = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)));

const script = name => new Promise((done, fail) => {
  const e = el('script', {src: `${base}/assets/${name}`});
  e.addEventListener('load', done);
  e.addEventListener('error', () => fail(new Error(`${name} cannot be loaded`)));
  document.head.append(e);
});

// page shows the first cells, then the others, then the rest.
async function page(view, doc) {
  const nav = el('nav', null), notebook = el('section', {id: 'notebook'});
  main.replaceChildren(...head(view), nav, notebook);
  const cells = cellsOf(doc);
  for (let next; notebook.childElementCount < FIRST && !(next = cells.next()).done;) notebook.append(next.value);
  await painted();
  performance.mark('first');
  notebook.append(...cells);
  await painted();
  performance.mark('notebook');
  for (const place of waiting.keys()) near.observe(place);
  render();
  await Promise.all([script('values.js'), script('compare.js')]);
  const sections = [
    view.cells.length ? steps(view) : null,
    view.variables.length ? variables(view) : null,
    view.files.length ? files(view) : null,
    compare(view),
    Object.keys(view.environment).length ? environment(view) : null,
    view.imports.length ? section('imports', 'What its values name', folded([`${view.imports.length} names`], () => table(['name'], view.imports.map(i => [i])))) : null,
  ].filter(Boolean);
  main.append(...sections);
  // The fragment of the address is what lets in: it stays.
  for (const s of sections) {
    const a = el('a', {href: '#' + s.id}, s.firstChild.textContent);
    a.addEventListener('click', e => { e.preventDefault(); s.scrollIntoView(); });
    nav.append(a);
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
    const [view, doc] = await Promise.all(['view', 'content'].map(async what => (await get(what)).json()));
    await page(view, doc);
    watch();
  } catch (e) {
    main.replaceChildren(el('p', {id: 'state', class: 'banner'}, token ? `This cannot be shown: ${e.message}.` : 'The address is not whole: what follows # is missing.'));
  }
}
start();
