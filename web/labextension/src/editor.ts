import { Dialog, showDialog, showErrorMessage } from '@jupyterlab/apputils';
import { ICellModel } from '@jupyterlab/cells';
import { Widget } from '@lumino/widgets';
import { Page, tags } from './page';
import { ITagged, problem, read, rename, write } from './tags';

/** What the special tags are for people. */
const KINDS: [string, string][] = [
  ['', 'a step'],
  ['imports', 'imports'],
  ['functions', 'functions'],
  ['pipeline-parameters', 'parameters'],
  ['pipeline-metrics', 'metrics'],
  ['skip', 'skip: never part of a run']
];

interface IEdit {
  tagged: ITagged;
  everywhere: boolean;
}

/** The form for one cell's step. */
class Editor extends Widget implements Dialog.IBodyWidget<IEdit> {
  constructor(
    private was: ITagged,
    above: string[],
    steps: string[],
    suggested: Map<string, string[]>
  ) {
    super();
    this.addClass('kedge-Editor');
    this._kind = this.row('Kind', document.createElement('select'));
    for (const [value, label] of KINDS) {
      this._kind.add(new Option(label, value, false, value === was.special));
    }
    this._name = this.row('Step', document.createElement('input'));
    this._name.className = 'jp-mod-styled';
    this._name.value = was.step;
    this._name.placeholder = 'joins the step above';
    this._name.setAttribute('list', 'kedge-steps');
    this._name.spellcheck = false;
    const list = document.createElement('datalist');
    list.id = 'kedge-steps';
    list.append(...steps.map(step => new Option(step)));
    this.node.append(list);
    this._everywhere = this.check('rename it in every cell', false);
    this._everywhere.parentElement!.classList.add('kedge-Hint');
    const chips = this.row('Depends on', document.createElement('div'));
    chips.className = 'kedge-Chips';
    for (const step of above) {
      const box = document.createElement('input');
      box.type = 'checkbox';
      box.value = step;
      box.checked = was.prev.includes(step);
      const chip = document.createElement('label');
      chip.className = 'kedge-Chip';
      const reads = suggested.get(step);
      chip.append(box, reads && !box.checked ? `${step}: it reads ${reads.join(', ')}` : step);
      chips.append(chip);
      this._prev.push(box);
    }
    if (above.length === 0) {
      chips.textContent = 'no step above';
    }
    this._uncached = this.check('never cache it: it runs each time', was.uncached);
    this._uncached.parentElement!.style.gridColumn = '2';
    this._problem = document.createElement('div');
    this._problem.className = 'kedge-Hint';
    this._problem.setAttribute('role', 'alert');
    this.node.append(this._problem);
    for (const node of [this._kind, this._name]) {
      node.addEventListener('input', () => this.update());
    }
    this.update();
  }

  getValue(): IEdit {
    const special = this._kind.value;
    return {
      tagged: {
        step: special ? '' : this._name.value.trim(),
        special,
        prev: special ? [] : this._prev.filter(box => box.checked).map(box => box.value),
        uncached: this._uncached.checked
      },
      everywhere: this._everywhere.checked
    };
  }

  update(): void {
    const special = this._kind.value !== '';
    const name = this._name.value.trim();
    this._name.disabled = special;
    this._problem.textContent = special ? '' : problem(name);
    this._everywhere.parentElement!.style.display = !special && this.was.step && name && name !== this.was.step ? '' : 'none';
    for (const box of this._prev) {
      box.disabled = special || !name || box.value === name;
    }
  }

  private row<T extends HTMLElement>(label: string, node: T): T {
    const name = document.createElement('label');
    name.textContent = label;
    node.id = `kedge-${label.replace(/\W/g, '-')}`;
    name.htmlFor = node.id;
    this.node.append(name, node);
    return node;
  }

  private check(text: string, checked: boolean): HTMLInputElement {
    const label = document.createElement('label');
    const box = document.createElement('input');
    box.type = 'checkbox';
    box.checked = checked;
    label.append(box, ' ' + text);
    this.node.append(label);
    return box;
  }

  private _kind: HTMLSelectElement;
  private _name: HTMLInputElement;
  private _everywhere: HTMLInputElement;
  private _uncached: HTMLInputElement;
  private _prev: HTMLInputElement[] = [];
  private _problem: HTMLElement;
}

/** The names of the steps above a cell, and of all. */
function steps(page: Page, of: ICellModel): { above: string[]; all: string[] } {
  const above: string[] = [];
  const all: string[] = [];
  let passed = false;
  for (const cell of page.panel.model!.cells) {
    passed = passed || cell === of;
    const step = cell.type === 'code' ? read(tags(cell)).step : '';
    if (step && !all.includes(step)) {
      all.push(step);
      if (!passed) {
        above.push(step);
      }
    }
  }
  return { above, all };
}

/** Lets a person say which step a cell is in. It changes nothing but the tags, and can be undone. */
export async function tagCell(page: Page, cell: ICellModel): Promise<void> {
  const was = read(tags(cell));
  const { above, all } = steps(page, cell);
  const own = page.state(cell.id)?.step ?? was.step;
  const suggested = new Map<string, string[]>();
  for (const edge of page.states?.edges ?? []) {
    if (edge.to === own && !edge.declared) {
      suggested.set(edge.from, edge.observed);
    }
  }
  const { button, value } = await showDialog({
    title: 'Step of this cell',
    body: new Editor(was, above, all, suggested),
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Tag' })],
    focusNodeSelector: '#kedge-Step'
  });
  if (!button.accept || !value) {
    return;
  }
  if (problem(value.tagged.step)) {
    await showErrorMessage(`“${value.tagged.step}” cannot be a step`, problem(value.tagged.step));
    return;
  }
  page.panel.model!.sharedModel.transact(() => {
    if (value.everywhere && was.step && value.tagged.step) {
      for (const other of page.panel.model!.cells) {
        set(other, rename(tags(other), was.step, value.tagged.step));
      }
    }
    set(cell, write(tags(cell), value.tagged));
  });
}

function set(cell: ICellModel, list: string[]): void {
  const now = tags(cell);
  if (list.length === now.length && list.every((tag, i) => tag === now[i])) {
    return;
  }
  if (list.length > 0) {
    cell.setMetadata('tags', list);
  } else {
    cell.deleteMetadata('tags');
  }
}

