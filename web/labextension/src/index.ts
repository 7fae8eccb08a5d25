import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, ISessionContextDialogs } from '@jupyterlab/apputils';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator } from '@jupyterlab/translation';
import { LabIcon } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';
import { bytes, seconds } from './badges';
import { tagCell } from './editor';
import { Page } from './page';
import { Panel } from './panel';
import { VERSION } from './protocol';
import { branchHere, copySnapshot, deleteSnapshot, recompute, rerun, restoreHere } from './rerun';
import { shareSnapshot } from './share';

const ID = 'kedge-lab:plugin';

/** Where a copy of a notebook is told which cell it goes on from, until it is open. */
const CONTINUE = 'kedge-continue:';

const icon = (name: string, path: string) =>
  new LabIcon({
    name: `kedge:${name}`,
    svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><path class="jp-icon3" fill="none" stroke="#616161" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" d="${path}"/></svg>`
  });
const anchor = icon('rerun', 'M12 8v13M5 13c0 5 3 8 7 8s7-3 7-8M3 15l2-2 2 2M17 15l2-2 2 2M9 11h6M12 8a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z');
const send = icon('share', 'M12 15V3M8 7l4-4 4 4M5 12v8h14v-8');
const label = icon('tag', 'M3 12V4a1 1 0 0 1 1-1h8l9 9-9 9ZM8 8h.01');

const plugin: JupyterFrontEndPlugin<void> = {
  id: ID,
  description: 'Tags, badges and rerun from changed cell, where the kernel is Kedge’s.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [ICommandPalette, ISettingRegistry, ISessionContextDialogs, ITranslator, IStatusBar],
  activate: (
    app: JupyterFrontEnd,
    tracker: INotebookTracker,
    palette: ICommandPalette | null,
    settings: ISettingRegistry | null,
    dialogs: ISessionContextDialogs | null,
    translator: ITranslator | null,
    statusBar: IStatusBar | null
  ) => {
    const runner = { dialogs: dialogs ?? undefined, translator: translator ?? undefined };
    const pages = new Map<NotebookPanel, Page>();
    const version = VERSION;
    const ids: string[] = [];
    let ask = true;

    const page = () => (tracker.currentWidget ? pages.get(tracker.currentWidget) : undefined);
    const up = () => page()?.link.up === true;
    const ours = () => page()?.link.ours === true;
    const active = () => tracker.activeCell?.model;

    /** Opens a copy of a notebook, which goes on from a cell. */
    const goOn = async (path: string, cell: string) => {
      if (path) {
        window.localStorage.setItem(CONTINUE + path, cell);
        await app.commands.execute('docmanager:open', { path });
      }
    };

    const command = (id: string, caption: string, needsCell: boolean, execute: (page: Page, cell: string) => Promise<void>, more = {}) => {
      app.commands.addCommand(`kedge:${id}`, {
        caption,
        isEnabled: () => up() && (!needsCell || active()?.type === 'code'),
        isVisible: ours,
        execute: async () => {
          const current = page();
          if (current) {
            await execute(current, active()?.id ?? '');
          }
        },
        ...more
      });
      ids.push(`kedge:${id}`);
      palette?.addItem({ command: `kedge:${id}`, category: 'Kedge' });
    };

    command('rerun-from-changed', 'Take the kernel back to just before the first changed cell, and run what is stale', false,
      current => rerun(current, runner, ask), { label: 'Rerun from changed cell', icon: anchor });
    command('run-stale', 'Run what is stale, as in a run from the top; the rest is restored', false,
      current => rerun(current, runner, false), { label: 'Run stale cells' });
    command('recompute', 'Run this cell although nothing has changed', true,
      (current, cell) => recompute(current, runner, cell), { label: 'Recompute this cell' });
    command('restore-here', 'Make kernel, files and outputs what they were after this cell', true,
      (current, cell) => restoreHere(current, runner, cell), { label: 'Restore to here' });
    command('branch-here', 'Open a copy of the notebook that goes on from this cell in its own kernel and folder', true,
      async (current, cell) => goOn(await branchHere(current, cell), cell), { label: 'Branch here' });
    command('share', 'Make a link to this cell’s snapshot, with which others look at it and go on from there', true,
      (current, cell) => shareSnapshot(current, { cell }), { label: 'Share this cell’s snapshot…', icon: send });
    command('tag-cell', 'Say which step this cell is in', true,
      async current => {
        const cell = active();
        if (cell) {
          await tagCell(current, cell);
        }
      }, { label: 'Step of this cell', icon: label });
    command('every-cell-a-step', 'Make every cell a step, without tags', false,
      async current => {
        current.auto = true;
        await current.panel.context.save();
      }, { label: 'Every cell is a step' });

    void settings?.load(ID).then(own => {
      const read = () => {
        ask = own.get('ask').composite !== false;
      };
      own.changed.connect(read);
      read();
    });

    const panel = new Panel(anchor, {
      restore: (of, cell) => void restoreHere(of, runner, cell),
      copy: (of, snapshot, cell) => void copySnapshot(of, snapshot).then(path => goOn(path, cell)),
      share: (of, snapshot) => void shareSnapshot(of, { snapshot }),
      remove: deleteSnapshot
    });

    const status = new Widget();
    status.addClass('kedge-Status');
    status.node.addEventListener('click', () => void app.commands.execute('kedge:rerun-from-changed'));
    const tell = () => {
      if (ours() && !panel.isAttached) {
        app.shell.add(panel, 'right', { rank: 900 }); // not before: without a Kedge kernel there is nothing of ours
      }
      panel.page = page();
      status.node.textContent = summary(page());
      status.node.title = page()?.states?.notice || 'Rerun from changed cell';
      for (const id of ids) {
        app.commands.notifyCommandChanged(id); // of a change of many, toolbars do not hear
      }
    };
    statusBar?.registerStatusItem('kedge-lab:status', { item: status, align: 'left', rank: 5, isActive: ours });

    const open = (panel: NotebookPanel) => {
      const opened = new Page(panel, app.serviceManager.kernelspecs, version, cell => void recompute(opened, runner, cell));
      pages.set(panel, opened);
      panel.disposed.connect(() => pages.delete(panel));
      let was = '';
      opened.changed.connect(() => {
        const now = `${opened.link.ours} ${opened.link.up} ${summary(opened)}`;
        if (now !== was) {
          was = now;
          tell();
        }
        const key = CONTINUE + panel.context.path;
        const told = opened.link.hello?.continue;
        if (told && window.localStorage.getItem(key + ':once') !== told.once) {
          window.localStorage.setItem(key + ':once', told.once);
          window.localStorage.setItem(key, told.cell);
        }
        const cell = opened.states && !opened.states.problem ? window.localStorage.getItem(key) : null;
        if (cell) {
          window.localStorage.removeItem(key);
          void restoreHere(opened, runner, cell, false);
        }
      });
    };
    tracker.forEach(open);
    tracker.widgetAdded.connect((_, panel) => open(panel));
    tracker.currentChanged.connect(tell);
    tracker.activeCellChanged.connect(tell);
  }
};

/** One line on a notebook; '' if there is nothing to say. */
function summary(page: Page | undefined): string {
  if (!page?.link.ours) {
    return '';
  }
  if (page.link.refused) {
    return `Kedge: ${page.link.refused}`;
  }
  const states = page.states;
  if (!states) {
    return '';
  }
  if (page.doing) {
    return `Kedge: ${page.doing}`;
  }
  if (states.problem || states.notice) {
    return `Kedge: ${states.problem || states.notice}`;
  }
  if (states.plain) {
    return 'Kedge: no steps yet';
  }
  const { runs, seconds: takes, restored, saved_seconds: saved, logical_bytes: logical, unique_bytes: unique } = states.totals;
  const parts = [runs > 0 ? `${runs} stale${takes >= 0.05 ? ` (${seconds(takes)})` : ''}` : 'all fresh'];
  const gains = [restored > 0 ? seconds(saved) : '', logical > unique ? bytes(logical - unique) : ''].filter(gain => gain);
  if (gains.length > 0) {
    parts.push(`${gains.join(' and ')} saved`);
  }
  return `Kedge: ${parts.join(' · ')}`;
}

export default plugin;
