import { CodeCell, ICellModel } from '@jupyterlab/cells';
import { NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { KernelSpec } from '@jupyterlab/services';
import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';
import { clear, show } from './badges';
import { Link } from './link';
import { ICell, ICellState, IDone, IStates, Told } from './protocol';

/** How long, in ms, nothing is typed before the cells are told. */
const PAUSE = 60;

/** How long, in ms, between two looks whether the server has saved a shared notebook. */
const SAVING = 300;

/** How long, in ms, states are waited for before something is asked with what is known. */
const PATIENCE = 10_000;

/** A notebook that is open: tells the proxy its cells, saved or not, and shows how they stand. */
export class Page implements IDisposable {
  constructor(
    readonly panel: NotebookPanel,
    specs: KernelSpec.IManager,
    version: string,
    private recompute: (cell: string) => void
  ) {
    this.link = new Link(panel.sessionContext, specs, version);
    this.link.changed.connect(this.onLink, this);
    this.link.told.connect(this.onTold, this);
    panel.content.modelContentChanged.connect(this.later, this);
    panel.content.modelChanged.connect(this.restart, this);
    NotebookActions.executionScheduled.connect(this.onRun, this);
    panel.disposed.connect(this.dispose, this);
    document.addEventListener('visibilitychange', this.look);
    window.addEventListener('focus', this.look);
  }

  readonly link: Link;

  /** How the cells stand; null where that is not known. */
  get states(): IStates | null {
    return this._states;
  }

  /** The states, the link or the progress changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** What goes on, for the status bar; '' if nothing does. */
  get doing(): string {
    return this._doing;
  }
  set doing(what: string) {
    this._doing = what;
    this._changed.emit();
  }

  /** Whether others may have the notebook open and edit it with us, as jupyter-collaboration lets them. */
  get shared(): boolean {
    return (this.panel.model as any)?.collaborative === true;
  }

  /**
   * Saves the notebook, and asks the proxy for something that goes by its file. Of a shared notebook the server writes the
   * file, a moment after the last edit: that is waited for.
   */
  async afterSaving<T extends { done: IDone }>(ask: () => Promise<T>): Promise<T> {
    await this.panel.context.save();
    const until = Date.now() + PATIENCE;
    for (;;) {
      const answer = await ask();
      if (!answer.done.unsaved || !this.shared || Date.now() > until) {
        return answer;
      }
      await new Promise(resolve => window.setTimeout(resolve, SAVING));
    }
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  state(id: string): ICellState | undefined {
    return this._of.get(id);
  }

  /** Whether every cell is a step. */
  get auto(): boolean {
    const own = this.panel.model?.getMetadata('kedge');
    return own?.auto === true;
  }
  set auto(on: boolean) {
    const own = this.panel.model?.getMetadata('kedge') ?? {};
    this.panel.model?.setMetadata('kedge', { ...own, auto: on });
    this.later();
  }

  /** Tells the cells as they are now, and returns how they stand. */
  async fresh(): Promise<IStates | null> {
    if (!this.link.up) {
      return null;
    }
    this.tell(true);
    const seq = this._seq;
    return new Promise(resolve => {
      const end = (states: IStates | null) => {
        window.clearTimeout(timer);
        this._changed.disconnect(heard, this);
        resolve(states);
      };
      const heard = () => {
        if (!this.link.up || (this._states && this._states.seq >= seq)) {
          end(this._states);
        }
      };
      const timer = window.setTimeout(() => end(this._states), PATIENCE);
      this._changed.connect(heard, this);
    });
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    window.clearTimeout(this._timer);
    document.removeEventListener('visibilitychange', this.look);
    window.removeEventListener('focus', this.look);
    this.link.dispose();
    Signal.clearData(this);
  }

  /** Files may have changed, or the store, while the person was elsewhere. */
  private look = (): void => {
    if (document.visibilityState === 'visible' && this.link.up && this._seq > 0) {
      this.link.say({ type: 'look' });
    }
  };

  private onLink(): void {
    if (this.link.up) {
      this.restart();
      return;
    }
    this._states = null;
    this._of.clear();
    this.paint();
    this._changed.emit();
  }

  private restart(): void {
    this._sent.clear();
    this._order = [];
    this.later();
  }

  private onTold(_: Link, told: Told): void {
    if (told.type === 'states') {
      this._states = told;
      this._of = new Map(told.cells.map(cell => [cell.id, cell]));
    } else if (told.type === 'became') {
      const cell = this._of.get(told.cell);
      if (!cell) {
        return;
      }
      this._of.set(told.cell, { ...cell, state: told.state, reason: told.reason, saved_seconds: told.saved_seconds });
    } else {
      return;
    }
    this.paint();
    this._changed.emit();
  }

  /** Tells the cells once nothing has been typed for a moment. */
  private later(): void {
    if (!this.link.ours) {
      return;
    }
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => this.tell(), PAUSE);
    this.watch();
  }

  /** Where a cell stands that is about to run has to be known by then, also if nobody has saved it. */
  private onRun(_: unknown, run: { notebook: unknown }): void {
    if (run.notebook === this.panel.content) {
      this.tell();
    }
  }

  /** Outputs and scrolling must not cost: only what the proxy does not know goes there. */
  private tell(always = false): void {
    window.clearTimeout(this._timer);
    if (!this.link.up || !this.panel.model || this._isDisposed) {
      return;
    }
    const order: string[] = [];
    const cells: ICell[] = [];
    const sent = new Map<string, string>();
    for (const model of this.panel.model.cells) {
      if (model.type !== 'code') {
        continue;
      }
      const cell = { id: model.id, source: model.sharedModel.getSource(), tags: tags(model) };
      const text = JSON.stringify([cell.source, cell.tags]);
      order.push(cell.id);
      sent.set(cell.id, text);
      if (this._sent.get(cell.id) !== text) {
        cells.push(cell);
      }
    }
    const moved = order.length !== this._order.length || order.some((id, i) => id !== this._order[i]);
    if (!always && !moved && cells.length === 0 && this._auto === this.auto) {
      return;
    }
    this._sent = sent;
    this._order = order;
    this._auto = this.auto;
    this.link.say({ type: 'cells', seq: ++this._seq, order: moved ? order : null, cells, auto: this._auto });
  }

  /** Tags and widgets of new cells are watched. Those of cells that have gone need no care: they go with them. */
  private watch(): void {
    for (const widget of this.panel.content.widgets) {
      if (widget instanceof CodeCell && !this._watched.has(widget)) {
        this._watched.add(widget);
        widget.model.metadataChanged.connect(this.later, this);
        widget.inViewportChanged.connect(() => this.paintCell(widget));
        this.paintCell(widget);
      }
    }
  }

  private paint(): void {
    for (const widget of this.panel.content.widgets) {
      if (widget instanceof CodeCell) {
        this.paintCell(widget);
      }
    }
  }

  private paintCell(widget: CodeCell): void {
    if (!this.link.up || !this._states) {
      clear(widget.node);
      return;
    }
    show(widget.node, this._of.get(widget.model.id), this.recompute);
  }

  private _states: IStates | null = null;
  private _of = new Map<string, ICellState>();
  private _sent = new Map<string, string>();
  private _order: string[] = [];
  private _auto = false;
  private _seq = 0;
  private _timer = 0;
  private _doing = '';
  private _watched = new WeakSet<CodeCell>();
  private _changed = new Signal<this, void>(this);
  private _isDisposed = false;
}

/** The tags of a cell; what is not a list of strings says nothing. */
export function tags(model: ICellModel): string[] {
  const list = model.getMetadata('tags');
  return Array.isArray(list) ? list.filter(tag => typeof tag === 'string') : [];
}
