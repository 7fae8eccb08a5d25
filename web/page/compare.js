// What differs from what a cell of this snapshot had left, or from another link of this server.
'use strict';

function compare(view) {
  const result = el('div', {id: 'difference'});
  const show = async (what, more) => {
    result.replaceChildren(el('p', {class: 'facts'}, 'Comparing …'));
    try {
      result.replaceChildren(...difference(await (await get(what, more)).json(), view));
    } catch (e) { result.replaceChildren(el('p', {class: 'banner'}, `This cannot be compared: ${e.message}.`)); }
  };
  const link = el('input', {type: 'url', placeholder: 'another link of this server', 'aria-label': 'another link'});
  const other = () => {
    const [id, theirs] = linked(link.value.trim());
    if (id) return show('diff?with=' + id, {'Kedge-With': theirs});
    result.replaceChildren(el('p', {class: 'banner'}, 'This is no link of this server; kedge diff compares what was opened from elsewhere.'));
  };
  link.addEventListener('keydown', e => { if (e.key === 'Enter') void other(); });
  const button = el('button', {type: 'button'}, 'Compare');
  button.addEventListener('click', other);
  const since = choices(view);
  const select = since.length ? el('select', {'aria-label': 'what it is compared with'}, el('option', {value: ''}, 'since …'),
    ...since.map(([n, name]) => el('option', {value: n}, name))) : null;
  select?.addEventListener('change', () => { if (select.value !== '') void show('diff?after=' + Number(select.value)); });
  return section('compare', 'What changed', el('div', {class: 'controls'}, select, link, button), result);
}

// choices are the cells after which something was otherwise, the last of each step, the newest first.
function choices(view) {
  const last = view.cells.length - 1;
  if (last < 1 || !view.cells.every(c => c.known)) return [];
  const all = [[last - 1, 'the cell before']];
  for (let n = last - 1; n >= 0; n--) {
    const c = view.cells[n];
    if (c.step !== view.cells[n + 1].step) all.push([n, `step ${c.step}`]);
  }
  return all;
}

// linked is the id and the token of a link of this server.
function linked(text) {
  try {
    const url = new URL(text);
    const id = /^[0-9a-f]{16}$/.exec(url.pathname.split('/').pop())?.[0];
    if (id && url.origin === location.origin && url.pathname === `${base}/s/${id}` && /^#[\w.-]+$/.test(url.hash)) return [id, url.hash.slice(1)];
  } catch { /* it is no address */ }
  return [];
}

function difference(d, view) {
  const {cells, variables: names, files: changed, environment: versions, unknown} = d.difference;
  const from = [d.was.step ? `step ${d.was.step}` : '', d.was.cell ? `cell ${d.was.cell}` : ''].filter(Boolean).join(', ');
  const parts = [el('p', {class: 'facts'}, `Compared with ${d.was.snapshot ? d.was.notebook + ' as shared' : 'what was there after ' + from} on ${when(d.was.created)}.`)];
  if (d.bytes) parts.push(el('p', {class: 'facts'}, `${bytes(d.bytes.both)} are in both, ${bytes(d.bytes.was)} only there, ${bytes(d.bytes.is)} only here.`));
  if (!d.values) parts.push(el('p', {class: 'facts'}, 'One of them was shared without its variables.'));
  for (const c of cells) {
    const name = el('button', {type: 'button'}, c.id || 'cell');
    name.addEventListener('click', () => places.get(c.id)?.scrollIntoView());
    parts.push(el('div', {class: 'changed'}, el('div', null, 'cell ', name, ` ${c.what === 'outputs' ? 'shows something else' : c.what}`), lines(c.lines)));
  }
  if (names.length) parts.push(table(['variable', '', 'was', 'is', 'what differs'], names.map(v => [v.name, v.what, side(v.was), side(v.is), columns(v.frame)])));
  if (unknown.length) parts.push(el('p', {class: 'facts'}, `Not captured, so not compared: ${unknown.join(', ')}.`));
  if (changed.length) {
    parts.push(table(['file', '', 'was', 'is'], changed.map(f => [f.lines.length ? el('div', null, f.path, lines(f.lines)) : f.path, f.what, f.was ? bytes(f.was.size ?? 0) : '', f.is ? bytes(f.is.size ?? 0) : ''])));
  }
  if (versions.length) parts.push(table(['package', 'was', 'is'], versions.map(v => [v.name, v.was || '–', v.is || '–'])));
  if (!cells.length && !names.length && !changed.length && !versions.length) parts.push(el('p', {class: 'facts'}, 'Nothing differs.'));
  return parts;
}

function lines(all) {
  if (!all.length) return null;
  const kinds = {'+': 'added', '-': 'removed'};
  return el('pre', {class: 'code'}, ...all.map(l => el('span', {class: 'line ' + (kinds[l.op] ?? '')}, l.op === '…' ? '…\n' : `${l.op} ${l.text}\n`)));
}

function side(v) {
  if (!v) return '';
  return v.reason ? 'not captured' : v.shown || [v.type, form(v)].filter(Boolean).join(' ');
}

function columns(f) {
  if (!f) return '';
  const few = names => names.slice(0, 12).join(', ') + (names.length > 12 ? ` and ${names.length - 12} more` : '');
  const named = names => names.length > 0 && names[0] !== '';
  return [
    f.rows[0] !== f.rows[1] ? `${f.rows[0].toLocaleString()} → ${f.rows[1].toLocaleString()} rows` : '',
    named(f.added) ? `new columns: ${few(f.added)}` : '', named(f.removed) ? `gone: ${few(f.removed)}` : '', named(f.changed) ? `other values: ${few(f.changed)}` : '',
    ...f.types.slice(0, 12).map(t => `${t.name || 'it'} is ${t.is}, was ${t.was}`), f.sampled ? 'the rest seems equal, by a sample' : '',
  ].filter(Boolean).join('; ');
}
