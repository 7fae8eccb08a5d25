import { NotebookActions } from '@jupyterlab/notebook';
import { LabIcon } from '@jupyterlab/ui-components';
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import { bytes, element, hue, seconds, shape, WORDS } from './badges';
import { Page } from './page';
import { IEdge, IStates, State } from './protocol';

/** One snapshot, as kedge log --json prints it. */
interface IRecord {
  snapshot: string;
  step: string;
  cell: string;
  created: string;
  seconds: number;
  status: string;
  logical_bytes: number;
  unique_bytes: number;
}

/** The beginning of a value: a text, or rows of a frame. */
interface IPreview {
  text?: string;
  columns?: string[];
  rows?: string[][];
}

/** What of kedge show --json is shown. */
interface IDetails {
  changed: { variables: string[]; deleted: string[]; files: string[] };
  variables: {
    name: string;
    type?: string;
    size: number;
    shape?: number[];
    length?: number;
    captured: boolean;
    reason?: string;
    preview?: IPreview;
  }[];
  files: { path: string; type: string; size: number }[];
}

/** How many snapshots are listed before one asks for more. */
const FIRST = 30;

/** The pixels of a step in the graph. */
const ROW = 28;
const GUTTER = 44;

/** The side panel: the step graph, the snapshots, and what is in one. */
export class Panel extends Widget {
  constructor(
    icon: LabIcon,
    private act: {
      restore: (page: Page, cell: string) => void;
      copy: (page: Page, snapshot: string, cell: string) => void;
      share: (page: Page, snapshot: string) => void;
      remove: (page: Page, snapshot: string, of: string) => Promise<void>;
    }
  ) {
    super();
    this.id = 'kedge-panel';
    this.title.icon = icon;
    this.title.caption = 'Kedge: steps and snapshots';
    this.addClass('kedge-Panel');
    this._top = element('div', 'kedge-Top');
    this._graph = element('div', 'kedge-Graph');
    this._log = element('div', 'kedge-Log');
    this.node.append(this._top, element('h3', '', 'Steps'), this._graph, element('h3', '', 'Snapshots'), this._log);
  }

  /** Shows another notebook, or none. */
  set page(page: Page | undefined) {
    if (page === this._page) {
      return;
    }
    this._page?.changed.disconnect(this.later, this);
    this._page = page;
    page?.changed.connect(this.later, this);
    this._open = '';
    this.later();
  }

  protected onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.later();
  }

  protected onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.later();
  }

  /** Draws once for all that changes within a moment, and only where it is seen. */
  private later(): void {
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => {
      if (this.isVisible) {
        this.draw();
        void this.list();
      }
    }, 150);
  }

  private draw(): void {
    const states = this._page?.states;
    this._top.textContent = '';
    this._graph.textContent = '';
    if (!this._page?.link.ours) {
      this._top.textContent = 'The notebook in front has no Kedge kernel.';
      return;
    }
    if (!states) {
      this._top.textContent = this._page.link.refused || 'The kernel does not answer for Kedge yet.';
      return;
    }
    if (states.problem || states.plain) {
      this._top.textContent = states.problem || 'This notebook has no steps yet.';
      return;
    }
    const { runs, cells, seconds: takes, restored, saved_seconds: saved } = states.totals;
    const lines = [runs > 0 ? `${runs} of ${cells} cells would run (${seconds(takes)})` : `All ${cells} cells are fresh`];
    if (restored > 0) {
      lines.push(`${restored} restored in this kernel, ${seconds(saved)} saved`);
    }
    lines.push(...[stored(states), states.notice].filter(line => line));
    if (this._page.shared) {
      lines.push(
        'Edited together: there is one kernel for all, so going back is for all; who changed a cell is not known; and what a branch or a copy holds is what the server has saved.'
      );
    }
    this._top.append(...lines.map(line => element('div', '', line)));
    this._graph.append(this.graph(states));
  }

  /** The steps in the notebook's order, with an arc for each edge. */
  private graph(states: IStates): HTMLElement {
    const box = element('div', 'kedge-Steps');
    const at = new Map(states.steps.map((step, i) => [step, i]));
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    svg.setAttribute('width', String(GUTTER));
    svg.setAttribute('height', String(states.steps.length * ROW));
    for (const edge of states.edges) {
      svg.append(arc(edge, at.get(edge.from)!, at.get(edge.to)!));
    }
    const list = element('div', '');
    for (const step of states.steps) {
      const row = element('button', 'kedge-Node');
      const state = worst(this._page!, states, step);
      row.dataset.kedgeState = state;
      const name = element('span', 'kedge-Step', step);
      name.style.setProperty('--kedge-hue', String(hue(step)));
      const word = element('span', 'kedge-State', WORDS[state]);
      word.prepend(shape(state));
      row.append(name, word);
      row.title = states.edges.filter(edge => edge.to === step).map(said).join('\n');
      row.addEventListener('click', () => this.go(states.cells.find(cell => cell.step === step)?.id));
      list.append(row);
    }
    box.append(svg, list);
    return box;
  }

  private go(id: string | undefined): void {
    const notebook = this._page?.panel.content;
    const index = notebook?.widgets.findIndex(widget => widget.model.id === id) ?? -1;
    if (notebook && index >= 0) {
      notebook.activeCellIndex = index;
      void NotebookActions.focusActiveCell(notebook);
      void notebook.scrollToItem(index);
    }
  }

  /** Lists the snapshots, if there are others than before. */
  private async list(): Promise<void> {
    const page = this._page;
    const states = page?.states;
    if (!page || !states || states.plain || states.problem) {
      this._log.textContent = '';
      this._shown = '';
      return;
    }
    const { done } = await page.link.errand('log', '');
    const records: IRecord[] = (done as any).log ?? [];
    const shown = `${page.panel.id} ${records[0]?.snapshot} ${records.length} ${this._open} ${this._all}`;
    if (page !== this._page || shown === this._shown) {
      return;
    }
    this._shown = shown;
    const entries: (HTMLElement | string)[] = [done.ok ? (records.length > 0 ? '' : 'None yet: run a step.') : done.reason];
    const met = new Set<string>();
    for (const record of this._all ? records : records.slice(0, FIRST)) {
      entries.push(await this.entry(page, record, !met.has(record.cell)));
      met.add(record.cell);
    }
    if (!this._all && records.length > FIRST) {
      const more = element('button', 'kedge-Again', `${records.length - FIRST} more`);
      more.addEventListener('click', () => {
        this._all = true;
        void this.list();
      });
      entries.push(more);
    }
    if (page === this._page && shown === this._shown) {
      this._log.replaceChildren(...entries); // at once: what was asked for meanwhile is listed anew
    }
  }

  /** `last` says that it is the newest of its cell. */
  private async entry(page: Page, record: IRecord, last: boolean): Promise<HTMLElement> {
    const node = element('div', 'kedge-Entry');
    const head = element('button', 'kedge-Head');
    const name = element('span', 'kedge-Step', record.step);
    name.style.setProperty('--kedge-hue', String(hue(record.step)));
    const when = new Date(record.created);
    head.append(
      name,
      element('span', '', record.status),
      element('span', 'kedge-Size', bytes(record.logical_bytes)),
      element('time', '', when.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }))
    );
    head.title = `${record.snapshot.slice(0, 12)} of ${when.toLocaleString()}; the run took ${seconds(record.seconds)}; ${written(record)}`;
    head.setAttribute('aria-expanded', String(this._open === record.snapshot));
    head.addEventListener('click', () => {
      this._open = this._open === record.snapshot ? '' : record.snapshot;
      void this.list();
    });
    node.append(head);
    if (this._open === record.snapshot) {
      const { done } = await page.link.errand('show', '', { snapshot: record.snapshot });
      node.append(element('div', 'kedge-Note', `${written(record)}; the run took ${seconds(record.seconds)}`));
      node.append(...(done.ok ? [...changed((done as any).show), inside((done as any).show)] : [element('div', 'kedge-Note', done.reason)]));
      const button = (text: string, title: string, act: () => void) => {
        const made = element('button', 'kedge-Again', text);
        made.title = title;
        made.addEventListener('click', act);
        node.append(made);
      };
      button('Go to its cell', 'Scroll to the cell that it is of', () => this.go(record.cell));
      const state = page.state(record.cell)?.state;
      if (last && (state === 'fresh' || state === 'restored')) {
        button('Restore to here', 'Kernel, files and outputs as they were after this cell', () => this.act.restore(page, record.cell));
      }
      button('Open a copy', 'The notebook and its files as they were then, in a folder of their own, with a kernel of its own', () =>
        this.act.copy(page, record.snapshot, record.cell)
      );
      button('Share', 'Make a link to this snapshot, with which others look at it and go on from there', () => this.act.share(page, record.snapshot));
      button('Delete', 'Forget this snapshot: what nothing else that is stored can restore runs again', () =>
        void this.act.remove(page, record.snapshot, `${record.step || 'cell'} of ${when.toLocaleString()}`).then(() => this.list())
      );
    }
    return node;
  }

  private _page: Page | undefined;
  private _top: HTMLElement;
  private _graph: HTMLElement;
  private _log: HTMLElement;
  private _open = '';
  private _all = false;
  private _shown = '';
  private _timer = 0;
}

/** How large a snapshot is, and what storing it took: more, with its records, where nothing was there before. */
function written(record: IRecord): string {
  return `${bytes(record.logical_bytes)}, for which ${bytes(record.unique_bytes)} were written`;
}

function arc(edge: IEdge, from: number, to: number): SVGElement {
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  const [y1, y2] = [from * ROW + ROW / 2, to * ROW + ROW / 2];
  const reach = Math.max(4, GUTTER - 10 - 7 * Math.abs(to - from));
  path.setAttribute('d', `M${GUTTER - 2} ${y1 + 3}C${reach} ${y1 + 3} ${reach} ${y2 - 3} ${GUTTER - 6} ${y2 - 3}m-5 -3 5 3-5 3`);
  path.setAttribute('class', edge.observed.length > 0 ? 'kedge-Edge' : 'kedge-Edge kedge-mod-declared');
  const title = document.createElementNS('http://www.w3.org/2000/svg', 'title');
  title.textContent = said(edge);
  path.append(title);
  return path;
}

function said(edge: IEdge): string {
  return `${edge.to} reads ${edge.observed.join(', ') || 'nothing seen'} from ${edge.from}${edge.declared ? ' (declared)' : ''}`;
}

/** How a step stands: as the cell of it that needs most. */
function worst(page: Page, states: IStates, step: string): State {
  const rank: State[] = ['none', 'restored', 'fresh', 'uncached', 'stale', 'running'];
  const of = states.cells.filter(cell => cell.step === step).map(cell => page.state(cell.id)?.state ?? 'none');
  return of.reduce<State>((at, state) => (rank.indexOf(state) > rank.indexOf(at) ? state : at), 'none');
}

/** What the cell has changed. */
function changed({ changed: of }: IDetails): HTMLElement[] {
  const parts = [
    ['changed', of.variables],
    ['deleted', of.deleted],
    ['wrote', of.files]
  ] as [string, string[]][];
  return parts.filter(([, names]) => names.length > 0).map(([what, names]) => element('div', 'kedge-Note', `${what} ${names.join(', ')}`));
}

/** The variables and files of a snapshot. */
function inside(details: IDetails): HTMLElement {
  const table = document.createElement('table');
  for (const v of details.variables) {
    const row = table.insertRow();
    row.insertCell().textContent = v.name;
    const form = v.shape ? v.shape.join(' × ') : v.length !== undefined ? `${v.length}` : '';
    row.insertCell().textContent = v.captured ? `${v.type ?? ''} ${form}` : v.reason ?? '';
    row.insertCell().textContent = v.captured ? bytes(v.size) : '';
    if (v.captured && v.preview) {
      const cell = table.insertRow().insertCell();
      cell.colSpan = 3;
      cell.className = 'kedge-Preview';
      cell.append(preview(v.preview));
    }
  }
  for (const f of details.files) {
    const row = table.insertRow();
    row.insertCell().textContent = f.path;
    row.insertCell().textContent = f.type;
    row.insertCell().textContent = f.type === 'file' ? bytes(f.size) : '';
  }
  return table;
}

/** The beginning of a value; a frame as a table. */
function preview(of: IPreview): HTMLElement {
  if (!of.columns) {
    return element('code', '', of.text ?? '');
  }
  const table = document.createElement('table');
  const head = table.createTHead().insertRow();
  for (const name of of.columns) {
    head.append(element('th', '', name));
  }
  for (const values of of.rows ?? []) {
    const row = table.insertRow();
    for (const value of values) {
      row.insertCell().textContent = value;
    }
  }
  return table;
}

/** What all snapshots take, and what they would if none shared anything; '' if there are none. */
function stored(states: IStates): string {
  const { logical_bytes: logical, unique_bytes: unique } = states.totals;
  if (logical === 0) {
    return '';
  }
  const saved = logical > unique ? `: ${bytes(logical - unique)} saved by what they share` : '';
  return `Snapshots of ${bytes(logical)} take ${bytes(unique)}${saved}`;
}
