import { ISessionContext } from '@jupyterlab/apputils';
import { Kernel, KernelSpec } from '@jupyterlab/services';
import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';
import { IDone, IHello, IOutput, NEWEST, OLDEST, refusal, TARGET, Told } from './protocol';

/** In these states of a kernel its comms are gone, or will be. */
const GONE = ['restarting', 'autorestarting', 'terminating', 'dead'];

/** An errand that waits for its answer. */
interface IErrand {
  outputs: IOutput[];
  resolve: (done: IDone) => void;
}

/**
 * The comm to Kedge's proxy, opened again after each restart. Kernels of others never hear of us: which are Kedge's
 * says their kernelspec.
 */
export class Link implements IDisposable {
  constructor(
    private context: ISessionContext,
    private specs: KernelSpec.IManager,
    private version: string
  ) {
    context.statusChanged.connect(this.join, this);
    context.kernelChanged.connect(this.rejoin, this);
    context.connectionStatusChanged.connect(this.join, this);
    specs.specsChanged.connect(this.join, this);
    this.join();
  }

  /** What the proxy says. */
  get told(): ISignal<this, Told> {
    return this._told;
  }

  /** The link came up or went down. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Whether the proxy has said hello and is understood. */
  get up(): boolean {
    return this._hello !== null && this.refused === '';
  }

  /** Whether the kernel is Kedge's. */
  get ours(): boolean {
    const kernel = this.context.session?.kernel;
    return !!kernel && this.specs.specs?.kernelspecs[kernel.name]?.metadata?.kedge !== undefined;
  }

  /** Why the proxy is not spoken with; '' if it is. */
  get refused(): string {
    return this._hello ? refusal(this._hello) : '';
  }

  get hello(): IHello | null {
    return this._hello;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  say(data: any): boolean {
    if (!this._comm || this._comm.isDisposed) {
      return false;
    }
    // Nobody reports idle for it: else the page would show an idle kernel while a cell runs.
    this._comm.send(data).dispose();
    return true;
  }

  /** Asks for something that is done once the kernel has done what it was asked before. It never rejects. */
  errand(type: string, cell: string, more = {}): Promise<{ done: IDone; outputs: IOutput[] }> {
    const id = ++this._errands;
    const outputs: IOutput[] = [];
    return new Promise(resolve => {
      const errand = { outputs, resolve: (done: IDone) => resolve({ done, outputs }) };
      this._waiting.set(id, errand);
      if (!this.say({ type, id, cell, ...more })) {
        this.fail();
      }
    });
  }

  dispose(): void {
    if (this._isDisposed) {
      return;
    }
    this._isDisposed = true;
    if (this._comm && !this._comm.isDisposed && this.up) {
      this._comm.close().dispose();
    }
    this.leave();
    Signal.clearData(this);
  }

  /** Another kernel is there, or the same is after a restart: what was opened meanwhile may have been heard by the former. */
  private rejoin(): void {
    const { _comm: comm, _kernel: kernel } = this;
    if (comm) {
      if (!comm.isDisposed && kernel && !kernel.isDisposed && !GONE.includes(kernel.status)) {
        comm.close().dispose(); // the kernel that is there now need not tell us twice
      }
      this.leave();
    }
    this.join();
  }

  /** Opens the comm if the kernel is Kedge's and there is none. */
  private join(): void {
    const kernel = this.context.session?.kernel ?? null;
    if (this._comm && (this._comm.isDisposed || this._kernel !== kernel || (kernel && GONE.includes(kernel.status)))) {
      this.leave();
    }
    if (!kernel || this._comm || !this.ours || GONE.includes(kernel.status) || kernel.handleComms === false) {
      return;
    }
    const comm = kernel.createComm(TARGET);
    if ('commsOverSubshells' in comm) {
      (comm as any).commsOverSubshells = 'disabled'; // the proxy answers; a thread in the kernel would be for nothing
    }
    comm.onMsg = msg => this.hear(comm, msg.content.data as unknown as Told);
    comm.onClose = () => {
      if (this._comm === comm) {
        this.leave(true); // a kernelspec of ours in front of which there is no proxy that knows us
      }
    };
    this._comm = comm;
    this._kernel = kernel;
    comm.open({ type: 'hello', protocol: NEWEST, oldest: OLDEST, version: this.version }).dispose();
  }

  private hear(comm: Kernel.IComm, told: Told): void {
    if (comm !== this._comm) {
      return;
    }
    switch (told.type) {
      case 'hello':
        this._hello = told;
        this._changed.emit();
        break;
      case 'output':
        this._waiting.get(told.id)?.outputs.push(told);
        break;
      case 'done':
        this._waiting.get(told.id)?.resolve(told);
        this._waiting.delete(told.id);
        break;
    }
    this._told.emit(told);
  }

  private leave(stay = false): void {
    const comm = this._comm;
    this._comm = stay ? comm : null;
    this._hello = null;
    if (comm && !comm.isDisposed) {
      comm.dispose();
    }
    this.fail();
    this._changed.emit();
  }

  /** Answers what nobody will answer any more. */
  private fail(): void {
    const waiting = [...this._waiting];
    this._waiting.clear();
    for (const [id, errand] of waiting) {
      errand.resolve({ type: 'done', id, ok: false, reason: 'The kernel has gone meanwhile.' });
    }
  }

  private _comm: Kernel.IComm | null = null;
  private _kernel: Kernel.IKernelConnection | null = null;
  private _hello: IHello | null = null;
  private _waiting = new Map<number, IErrand>();
  private _errands = 0;
  private _told = new Signal<this, Told>(this);
  private _changed = new Signal<this, void>(this);
  private _isDisposed = false;
}
