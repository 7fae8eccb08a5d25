import { ICellState, State } from './protocol';

/** A shape for each state, so that nobody has to tell colours apart. Paths in a box of 12. */
const SHAPES: { [state in State]: string } = {
  fresh: 'M2 6.5 4.8 9.3 10 3.5',
  restored: 'M9.8 6a3.8 3.8 0 1 1-1.2-2.8M9.9 1.4v2.4H7.5',
  stale: 'M6 1.8 11 10.4H1Z',
  running: 'M3.6 2.2v7.6L10 6Z',
  uncached: 'M6 1.6a4.4 4.4 0 1 1 0 8.8 4.4 4.4 0 0 1 0-8.8ZM2.9 9.1 9.1 2.9',
  none: ''
};

export const WORDS: { [state in State]: string } = {
  fresh: 'fresh',
  restored: 'restored',
  stale: 'stale',
  running: 'running',
  uncached: 'not cached',
  none: ''
};

/** What a state means, for those who point at it. */
const MEANS: { [state in State]: string } = {
  fresh: 'Would be restored',
  restored: 'Was restored, not run',
  stale: 'Would run',
  running: 'Runs now',
  uncached: 'Runs each time',
  none: 'In no step: runs whenever it is asked to'
};

export function seconds(of: number): string {
  if (of < 0.05) {
    return '< 0.1 s';
  }
  return of < 60 ? `${of.toFixed(1)} s` : of < 3600 ? `${(of / 60).toFixed(1)} min` : `${(of / 3600).toFixed(1)} h`;
}

/** One of ten hues, the same wherever the step is shown. */
export function hue(step: string): number {
  let hash = 0;
  for (const c of step) {
    hash = (hash * 31 + c.codePointAt(0)!) % 9973;
  }
  return (hash % 10) * 36;
}

function explain(cell: ICellState): string {
  const parts = [MEANS[cell.state]];
  if (cell.reason && cell.reason !== 'nothing changed') {
    parts.push(cell.reason);
  } else if (cell.reason && cell.state !== 'none') {
    parts.push('nothing changed');
  }
  let text = parts.join(': ');
  if (cell.state === 'restored') {
    text += `; ${seconds(cell.saved_seconds)} saved`;
  } else if (cell.state === 'fresh' || cell.state === 'stale' || cell.state === 'uncached') {
    text += cell.seconds > 0 ? `; took ${seconds(cell.seconds)}` : '';
  }
  return text;
}

export function element(name: string, className: string, text = ''): HTMLElement {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text;
  return node;
}

export function shape(state: State): SVGElement {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 12 12');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', SHAPES[state]);
  svg.append(path);
  return svg;
}

/** Takes everything of ours from a cell's node. */
export function clear(node: HTMLElement): void {
  delete node.dataset.kedgeState;
  delete node.dataset.kedgeStep;
  node.removeAttribute('aria-description');
  badgeOf(node)?.remove();
}

function badgeOf(node: HTMLElement): HTMLElement | null {
  return node.querySelector<HTMLElement>(':scope > .kedge-Badge');
}

/** Shows how a cell stands on its node. It changes nothing that is so already: the page looks often. */
export function show(node: HTMLElement, cell: ICellState | undefined, recompute: (id: string) => void): void {
  const state = cell?.state ?? 'none';
  const step = cell?.step ?? '';
  const why = cell ? explain(cell) : MEANS.none;
  const was = badgeOf(node);
  node.dataset.kedgeState = state;
  node.dataset.kedgeStep = step;
  node.setAttribute('aria-description', why);
  if (!cell || (state === 'none' && !step && !cell.reason)) {
    was?.remove();
    return;
  }
  const key = [state, step, why].join('\n');
  if (was?.dataset.key === key) {
    return;
  }
  const badge = element('div', 'kedge-Badge');
  badge.dataset.key = key;
  badge.title = why;
  if (step) {
    const name = element('span', 'kedge-Step', step);
    name.style.setProperty('--kedge-hue', String(hue(step)));
    badge.append(name);
  }
  if (state !== 'none') {
    const word = element('span', 'kedge-State');
    word.append(shape(state), document.createTextNode(WORDS[state]));
    badge.append(word);
  }
  badge.append(element('span', 'kedge-Why', cell.reason === 'nothing changed' && state === 'restored' ? `${seconds(cell.saved_seconds)} saved` : cell.reason));
  if (state === 'restored' || state === 'fresh') {
    const again = element('button', 'kedge-Again', 'Recompute') as HTMLButtonElement;
    again.title = 'Run this cell although nothing has changed (Ctrl Shift Enter)';
    again.tabIndex = -1;
    again.addEventListener('click', () => recompute(cell.id));
    badge.append(again);
  }
  if (was) {
    was.replaceWith(badge);
  } else {
    node.prepend(badge);
  }
}

export function bytes(of: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (of >= 1024 && unit < units.length - 1) {
    of /= 1024;
    unit++;
  }
  return unit === 0 ? `${of} B` : `${of.toFixed(1)} ${units[unit]}`;
}
