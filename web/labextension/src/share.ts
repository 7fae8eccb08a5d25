import { Clipboard, Dialog, showDialog, showErrorMessage } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';
import { bytes, element } from './badges';
import { Page } from './page';
import { ILinked, IOffer } from './protocol';

/** How many names of variables and files are listed. */
const MOST = 12;

/** How long a link may be good. */
const LIFETIMES = [
  ['1h', 'an hour'],
  ['1d', 'a day'],
  ['7d', '7 days'],
  ['30d', '30 days'],
  ['365d', 'a year']
];

/** A snapshot, or the newest one of a cell. */
export interface IOf {
  snapshot?: string;
  cell?: string;
}

/** Says what sharing a snapshot publishes, asks, and gives the link. */
export async function shareSnapshot(page: Page, of: IOf): Promise<void> {
  const question = new Question(page, of);
  const { button } = await new Asking(question).launch();
  if (!button.accept) {
    return;
  }
  page.doing = 'making a link…';
  try {
    const { done } = await page.link.errand('publish', '', { offer: question.offered, expires: question.expires, reader: question.reader });
    if (!done.ok) {
      await showErrorMessage('Share', done.reason);
    } else {
      page.doing = '';
      await give(done.link!);
    }
  } finally {
    page.doing = '';
  }
}

/** Goes on only when what would be published is shown, and secrets are agreed to. */
class Asking extends Dialog<unknown> {
  constructor(private question: Question) {
    super({ title: 'Share this snapshot?', body: question, buttons: [Dialog.cancelButton(), Dialog.okButton({ label: 'Create link' })] });
  }

  resolve(index?: number): void {
    if (index === 0 || this.question.agreed()) {
      super.resolve(index);
    }
  }
}

/** What would be published, and how. */
class Question extends Widget {
  constructor(
    private page: Page,
    private of: IOf
  ) {
    super();
    this.addClass('kedge-Dialog');
    this.addClass('kedge-Share');
    this._stateless = box('stateless');
    this._secrets = box('secrets');
    this._lifetime = document.createElement('select');
    for (const [value, text] of LIFETIMES) {
      this._lifetime.add(new Option(text, value, value === '7d', value === '7d'));
    }
    this._reader = document.createElement('input');
    this._reader.name = 'reader';
    this._reader.placeholder = 'whoever has it';
    this._reader.pattern = '\\s*([0-9a-fA-F]{64})?\\s*';
    this._reader.title = 'Her key, 64 hexadecimal digits, is in “kedge doctor --json”. The link then opens by “kedge open” in her home only, not in a browser.';
    const reader = element('label', '', 'The link is for ');
    reader.append(this._reader);
    this._stateless.addEventListener('change', () => void this.ask());
    this._tick = labelled(this._secrets, 'Share what looks like secrets too');
    const lifetime = element('label', '', 'The link is good for ');
    lifetime.append(this._lifetime);
    this.node.append(this._what, this._tick, labelled(this._stateless, 'Without variables: the notebook, its outputs and files only'), lifetime, reader);
    void this.ask();
  }

  /** The number of what is shown. */
  get offered(): number {
    return this._offer?.id ?? 0;
  }

  get expires(): string {
    return this._lifetime.value;
  }

  get reader(): string {
    return this._reader.value.trim();
  }

  /** Whether what is shown may be published; says what that lacks. */
  agreed(): boolean {
    const lacks = !!this._offer && this._offer.of.secrets.length > 0 && !this._secrets.checked;
    this._tick.classList.toggle('kedge-mod-lacks', lacks);
    const known = this._reader.validity.valid;
    return !!this._offer && !lacks && known;
  }

  private async ask(): Promise<void> {
    const asked = ++this._asked;
    this._offer = null;
    this._tick.hidden = true;
    this._what.replaceChildren(element('div', '', 'Looking at what would be published…'));
    const { done } = await this.page.link.errand('offer', this.of.cell ?? '', { snapshot: this.of.snapshot ?? '', no_state: this._stateless.checked });
    if (asked !== this._asked || this.isDisposed) {
      return;
    }
    if (!done.ok) {
      this._what.replaceChildren(element('div', 'kedge-Warning', done.reason));
      return;
    }
    const offer = done.offer!;
    this._what.replaceChildren(...this.lines(offer));
    this._tick.hidden = offer.secrets.length === 0;
    this._offer = { id: done.id, of: offer };
  }

  private lines(offer: IOffer): HTMLElement[] {
    const { cell } = this.of;
    const lines = [element('div', '', `This leaves the machine, for whoever has the link: ${bytes(offer.bytes)} of ${offer.notebook}, as it was after “${offer.step}” on ${new Date(offer.created).toLocaleString()}.`)];
    if (cell && this.page.state(cell)?.state === 'stale') {
      lines.push(element('div', 'kedge-Warning', 'The cell, or what it depends on, has changed since.'));
    }
    const table = document.createElement('table');
    const row = (what: string, names: string[]) => {
      const made = table.insertRow();
      made.insertCell().textContent = `${names.length} ${what}`;
      made.insertCell().textContent = listed(names);
    };
    row('variables', offer.variables);
    row('files', offer.files);
    lines.push(table);
    lines.push(...offer.left.slice(0, MOST).map(left => element('div', '', `Left out: ${left.path}: ${left.why}; cells that read it will run where this is opened.`)));
    lines.push(...offer.secrets.slice(0, MOST).map(secret => element('div', 'kedge-Warning', `Looks like a secret: ${secret.rule} in ${secret.where}`)));
    if (offer.secrets.length > MOST) {
      lines.push(element('div', 'kedge-Warning', `and ${offer.secrets.length - MOST} more`));
    }
    return lines;
  }

  private _what = element('div', '');
  private _tick: HTMLElement;
  private _stateless: HTMLInputElement;
  private _secrets: HTMLInputElement;
  private _lifetime: HTMLSelectElement;
  private _reader: HTMLInputElement;
  private _offer: { id: number; of: IOffer } | null = null;
  private _asked = 0;
}

function box(name: string): HTMLInputElement {
  const made = document.createElement('input');
  made.type = 'checkbox';
  made.name = name;
  return made;
}

function labelled(input: HTMLElement, text: string): HTMLElement {
  const made = element('label', '');
  made.append(input, ` ${text}`);
  return made;
}

function listed(names: string[]): string {
  return names.length > MOST ? `${names.slice(0, MOST).join(', ')} and ${names.length - MOST} more` : names.join(', ');
}

/** Copies a link, and shows it: the browser may not have let us. */
async function give(link: ILinked): Promise<void> {
  const copied = await window.navigator.clipboard?.writeText(link.link).then(
    () => true,
    () => false
  );
  const body = new Widget();
  body.addClass('kedge-Dialog');
  body.addClass('kedge-Share');
  const text = document.createElement('input');
  text.readOnly = true;
  text.value = link.link;
  text.className = 'kedge-Link';
  text.addEventListener('focus', () => text.select());
  body.node.append(
    element('div', '', `${copied ? 'The link is in the clipboard. ' : ''}It is good until ${new Date(link.expires).toLocaleString()}; kedge revoke ${link.id} ends it before.`),
    text
  );
  if (link.local) {
    body.node.append(element('div', 'kedge-Warning', 'It can be reached from this machine only. “kedge serve --addr” or “--public-url” changes that; “kedge share --file” needs no network.'));
  }
  if (link.started) {
    body.node.append(element('div', '', 'A server was started for it, which goes on without this notebook; “kedge serve --stop” ends it.'));
  }
  const { button } = await showDialog({
    title: 'Link to this snapshot',
    body,
    buttons: copied ? [Dialog.okButton({ label: 'Close' })] : [Dialog.cancelButton({ label: 'Close' }), Dialog.okButton({ label: 'Copy link' })]
  });
  if (!copied && button.accept) {
    Clipboard.copyToSystem(link.link);
  }
}
