// What variables hold: all of it was written when they were captured, in numbers and texts, and is drawn here.
'use strict';

const MOST = 99; // the highest level
const TOOLS = ['module', 'function', 'builtin_function_or_method', 'type', 'ABCMeta'];

function variables(view) {
  const tool = v => !v.reason && TOOLS.includes(v.type);
  const tools = view.variables.filter(tool).map(v => v.name);
  return section('variables', 'Variables', ...view.variables.filter(v => !tool(v)).map(variable),
    tools.length ? el('p', {class: 'facts'}, `Modules, functions and classes: ${tools.join(', ')}.`) : null);
}

// brief is a number with the digits that one can take in; all are in its title.
function brief(text) {
  if (!/^-?\d+\.\d{7,}(e[-+]\d+)?$/.test(text)) return text;
  return el('span', {title: text}, String(Number(Number(text).toPrecision(6))));
}

function variable(v) {
  const sketch = v.preview?.sketches?.length === 1 ? v.preview.sketches[0] : null;
  const size = v.size || v.bytes || 0;
  const fresh = v.own > 0 && v.bytes > 0 ? `${bytes(v.own)} of ${bytes(v.bytes)} are new in this snapshot` : v.bytes > 0 ? `${bytes(v.bytes)}, all as before` : '';
  const summary = [
    el('span', {class: 'name'}, v.name), el('span', {class: 'type'}, v.reason ? 'not captured' : v.type), el('span', {class: 'form'}, form(v)),
    el('span', {class: 'size', title: fresh}, v.reason ? '' : bytes(size)),
    el('span', {class: 'glimpse'}, v.reason || glimpse(v)),
    sketch ? plot(sketch, v.preview.grid) : null,
  ];
  if (!v.preview?.rows && !v.preview?.sketches) return el('div', {class: 'variable'}, ...summary.filter(Boolean));
  const details = folded(summary, () => el('div', {class: 'preview'}, ...inside(v.preview), el('p', {class: 'facts'}, fresh)));
  details.className = 'variable';
  return details;
}

function glimpse(v) {
  if (v.shown) return v.shown;
  if (v.preview?.text) return v.preview.text;
  return (v.preview?.columns ?? []).filter(Boolean).join(', ');
}

function inside(p) {
  const parts = [];
  if (p.rows?.length) parts.push(table(p.columns ?? p.rows[0].map((_, i) => i), p.rows.map(row => row.map(brief))));
  else if (p.text) parts.push(el('pre', {class: 'code'}, p.text));
  if (p.grid?.length) parts.push(heat(p.grid));
  const known = (p.sketches ?? []).filter(s => s.type);
  if (known.length) parts.push(sketches(known));
  return parts;
}

// sketches is a table of columns, with how their values are distributed.
function sketches(all) {
  const named = all.some(s => s.name);
  const rows = all.map(s => [...(named ? [s.name ?? ''] : []), s.type, plot(s), s.missing ? `${s.missing}` : '', range(s)]);
  const sample = all.find(s => s.of > s.seen && s.seen > 0);
  const box = el('div', null, table([...(named ? ['column'] : []), 'type', '', 'missing', 'values'], rows));
  if (sample) box.append(el('p', {class: 'facts'}, `Of ${sample.of.toLocaleString()} elements ${sample.seen.toLocaleString()} were looked at.`));
  return box;
}

function range(s) {
  if (s.low !== undefined) return s.low === s.high ? s.low : `${s.low} … ${s.high}`;
  if (s.top?.length) return s.top.map(t => `${t.text} ${t.count}`).join(', ');
  return s.distinct ? `${s.distinct} different` : '';
}

function plot(s, grid) {
  if (grid?.length) return heat(grid, true);
  if (s.line?.length > 1) return line(s.line);
  if (s.bins?.length) return bars(s.bins);
  return null;
}

const picture = (name, width, height, ...children) =>
  svg('svg', {class: 'plot', width, height, viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': name}, ...children);

function bars(bins) {
  const most = Math.max(1, ...bins), wide = 96 / bins.length;
  return picture('histogram', 96, 24, svg('title', null, bins.join(', ')), ...bins.map((n, i) =>
    svg('rect', {x: i * wide, y: 24 - 24 * n / most, width: Math.max(1, wide - 1), height: 24 * n / most})));
}

// line has a gap where there is no number.
function line(levels) {
  const step = 96 / (levels.length - 1);
  let path = '', down = false;
  levels.forEach((n, i) => {
    if (n >= 0) path += `${down ? 'L' : 'M'}${(i * step).toFixed(1)} ${(23 - 22 * n / MOST).toFixed(1)}`;
    down = n >= 0;
  });
  return picture('values in their order', 96, 24, svg('path', {d: path, class: 'line'}));
}

function heat(grid, small) {
  const columns = Math.max(1, ...grid.map(row => row.length));
  const [wide, high] = small ? [96 / columns, 24 / grid.length] : [12, 12];
  return picture('levels', wide * columns, high * grid.length, ...grid.flatMap((row, y) => row.map((n, x) => n < 0 ? null :
    svg('rect', {x: x * wide, y: y * high, width: wide, height: high, 'fill-opacity': (0.06 + 0.94 * n / MOST).toFixed(2)}))));
}
