import { Dialog, ISessionContextDialogs, showDialog, showErrorMessage } from '@jupyterlab/apputils';
import { Cell, CodeCell } from '@jupyterlab/cells';
import { NotebookActions } from '@jupyterlab/notebook';
import { ITranslator } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import { seconds } from './badges';
import { Page, tags } from './page';
import { ICellState, IDone, IOutput, IStates } from './protocol';

/** What running cells needs of the application. */
export interface IRunner {
  dialogs?: ISessionContextDialogs;
  translator?: ITranslator;
}

/** The code cells of a notebook that a straight run takes, in order, from one on and up to another. */
function cellsOf(page: Page, from = '', to = ''): CodeCell[] {
  const all: CodeCell[] = [];
  let on = from === '';
  for (const widget of page.panel.content.widgets) {
    on = on || widget.model.id === from;
    if (on && widget instanceof CodeCell && widget.model.sharedModel.getSource().trim() && !tags(widget.model).includes('skip')) {
      all.push(widget);
    }
    if (widget.model.id === to) {
      break;
    }
  }
  return all;
}

function run(page: Page, cells: readonly Cell[], runner: IRunner): Promise<boolean> {
  return NotebookActions.runCells(page.panel.content, cells, page.panel.sessionContext, runner.dialogs, runner.translator);
}

/** Shows what the cells show that were restored by going back. */
function lay(page: Page, outputs: IOutput[]): void {
  const of = new Map(outputs.map(output => [output.cell, output]));
  for (const widget of page.panel.content.widgets) {
    const output = of.get(widget.model.id);
    if (output && widget instanceof CodeCell) {
      widget.model.trusted = true; // as of a cell that ran
      widget.model.outputs.fromJSON(output.outputs ?? []);
      widget.model.executionCount = output.count;
    }
  }
}

/** The states of cells that are up to date; null, and said why, where there is nothing to go by. */
async function known(page: Page, title: string): Promise<IStates | null> {
  let states = await page.fresh();
  if (states?.plain) {
    const { button } = await showDialog({
      title,
      body: 'This notebook has no steps yet. Make every cell a step? Cells can be named and joined later.',
      buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Every cell is a step' })]
    });
    if (!button.accept) {
      return null;
    }
    page.auto = true;
    await page.panel.context.save();
    states = await page.fresh();
  }
  const problem = states ? states.problem : page.link.refused || 'The kernel does not answer for Kedge yet. Is it running?';
  if (problem) {
    await showErrorMessage(title, problem);
    return null;
  }
  return states;
}

/** What will run, and about how long that takes. */
function forecast(cells: ICellState[], intro: string): Widget {
  const node = document.createElement('div');
  node.className = 'kedge-Dialog';
  const first = document.createElement('div');
  first.textContent = intro;
  node.append(first);
  const table = document.createElement('table');
  const most = 12;
  for (const cell of cells.slice(0, most)) {
    const row = table.insertRow();
    row.insertCell().textContent = cell.step;
    row.insertCell().textContent = cell.reason;
    row.insertCell().textContent = cell.reason === 'never run' ? '' : seconds(cell.seconds);
  }
  if (cells.length > most) {
    table.insertRow().insertCell().textContent = `and ${cells.length - most} more`;
  }
  node.append(table);
  return new Widget({ node });
}

function about(cells: ICellState[]): string {
  const unknown = cells.filter(cell => cell.seconds === 0 && cell.reason === 'never run').length;
  const total = cells.reduce((sum, cell) => sum + cell.seconds, 0);
  const time = total >= 0.05 ? `about ${seconds(total)}` : unknown === cells.length ? '' : 'almost no time';
  return [time, unknown > 0 ? `${unknown} for the first time` : ''].filter(part => part).join(', ');
}

/** What a person should know who is not alone in the notebook. */
function forAll(page: Page): string {
  return page.shared ? ' Everyone who has this notebook open shares its kernel, and goes back with you.' : '';
}

const plural = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;

/**
 * Takes the kernel and the files back to just before the first cell that changed, and runs what is stale from there on;
 * the rest is restored. With `to`, up to that cell.
 */
async function straight(page: Page, runner: IRunner, title: string, to = ''): Promise<boolean> {
  page.doing = 'going back…';
  try {
    const { done, outputs } = await page.afterSaving(() => page.link.errand('back', ''));
    if (!done.ok) {
      await showErrorMessage(title, done.reason);
      return false;
    }
    lay(page, outputs);
    if (!done.next) {
      return true;
    }
    const cells = cellsOf(page, done.next, to);
    page.doing = `${plural(cells.length, 'cell')} to go through…`;
    return await run(page, cells, runner);
  } finally {
    page.doing = '';
  }
}

/** Rerun from changed cell. */
export async function rerun(page: Page, runner: IRunner, ask: boolean): Promise<void> {
  const title = 'Rerun from changed cell';
  const states = await known(page, title);
  if (!states) {
    return;
  }
  const runs = states.cells.filter(cell => cell.runs);
  const restored = states.totals.cells - runs.length;
  if (ask) {
    const first = runs[0];
    const intro = first
      ? `Goes back to just before “${first.step}”, the first step that changed. ${plural(runs.length, 'cell')} will run (${about(runs)}), ${restored} will be restored:`
      : `Nothing has changed: all ${plural(restored, 'cell')} will be restored, in a fresh kernel.`;
    const { button } = await showDialog({
      title: first ? `Rerun from “${first.step}”?` : title,
      body: forecast(runs, intro + forAll(page)),
      buttons: [Dialog.cancelButton(), Dialog.okButton({ label: first ? 'Rerun' : 'Restore all' })]
    });
    if (!button.accept) {
      return;
    }
  }
  await straight(page, runner, title);
}

/** Recompute: the cell really runs, whatever is kept of it. */
export async function recompute(page: Page, runner: IRunner, id: string): Promise<void> {
  const cells = page.panel.content.widgets.filter(widget => widget.model.id === id);
  if (page.state(id)?.step) {
    void page.link.errand('again', id); // the kernel hears it before the cell
  }
  await run(page, cells, runner);
}

/** Restore to here: kernel, files and outputs as they were after a cell. */
export async function restoreHere(page: Page, runner: IRunner, id: string, ask = true): Promise<void> {
  const title = 'Restore to here';
  const states = await known(page, title);
  if (!states) {
    return;
  }
  const upTo = states.cells.slice(0, states.cells.findIndex(cell => cell.id === id) + 1);
  const runs = upTo.filter(cell => cell.runs);
  const here = page.state(id);
  if (!here?.step) {
    await showErrorMessage(title, 'This cell is in no step, so there is no point to restore to.');
    return;
  }
  if (ask || runs.length > 0) {
    const body =
      runs.length > 0
        ? forecast(runs, `${plural(runs.length, 'cell')} up to here changed and will run (${about(runs)}); the rest is restored:${forAll(page)}`)
        : `Kernel and files become what they were after this cell, in a fresh kernel. What later cells left in the kernel goes; what is cached of them can be restored again.${forAll(page)}`;
    const { button } = await showDialog({
      title: `Restore to “${here.step}”?`,
      body,
      buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Restore' })]
    });
    if (!button.accept) {
      return;
    }
  }
  if (runs.length > 0) {
    await straight(page, runner, title, id);
    return;
  }
  page.doing = 'restoring…';
  try {
    const { done, outputs } = await page.afterSaving(() => page.link.errand('back', id));
    if (!done.ok) {
      await showErrorMessage(title, done.reason);
      return;
    }
    lay(page, outputs);
  } finally {
    page.doing = '';
  }
}

/** The notebook and its files as they were at a snapshot, in a folder of their own. It returns the copy's path. */
export async function copySnapshot(page: Page, snapshot: string): Promise<string> {
  return inFolder(page, 'Open a copy', 'copying…', () => page.link.errand('copy', '', { snapshot }));
}

/** Forgets a snapshot, once the person has said that she means it. */
export async function deleteSnapshot(page: Page, snapshot: string, of: string): Promise<void> {
  const title = 'Delete this snapshot?';
  const { button } = await showDialog({
    title,
    body: `The snapshot “${of}” is forgotten, with the values, files and outputs that no other needs. It cannot be brought back; the cell can be run again.`,
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: 'Delete' })]
  });
  if (!button.accept) {
    return;
  }
  const { done } = await page.link.errand('delete', '', { snapshot });
  if (!done.ok) {
    await showErrorMessage(title, done.reason);
  }
}

/** Has a copy of the notebook made in a folder beside it, and returns its path; '' if that could not be done, which it says. */
async function inFolder(page: Page, title: string, doing: string, make: () => Promise<{ done: IDone }>): Promise<string> {
  page.doing = doing;
  try {
    const { done } = await make();
    if (!done.ok) {
      await showErrorMessage(title, done.reason);
      return '';
    }
    const path = page.panel.context.path;
    return `${path.slice(0, path.lastIndexOf('/') + 1)}${done.folder}/${done.notebook}`;
  } finally {
    page.doing = '';
  }
}

/** Branch here: a copy of the notebook, in a folder of its own, that goes on from a cell. It returns the copy's path. */
export async function branchHere(page: Page, id: string): Promise<string> {
  const title = 'Branch here';
  const states = await known(page, title);
  if (!states) {
    return '';
  }
  if (!page.state(id)?.step) {
    await showErrorMessage(title, 'This cell is in no step, so there is no point to branch from.');
    return '';
  }
  return inFolder(page, title, 'branching…', () => page.afterSaving(() => page.link.errand('branch', id)));
}
