// What the page and Kedge's proxy say to each other on a comm: live/comm.go has the other side.

/** The target of the comm. */
export const TARGET = 'kedge';

/** The versions of the protocol that we speak; the newest that both know is spoken. */
export const NEWEST = 1;
export const OLDEST = 1;

export type State = 'fresh' | 'restored' | 'stale' | 'running' | 'uncached' | 'none';

/** A code cell as it is in the page, saved or not. */
export interface ICell {
  id: string;
  source: string;
  tags: string[];
}

/** How a cell stands. */
export interface ICellState {
  id: string;
  state: State;
  step: string;
  reason: string;
  seconds: number;
  saved_seconds: number;
  runs: boolean;
}

export interface IEdge {
  from: string;
  to: string;
  declared: boolean;
  observed: string[];
}

export interface IStates {
  type: 'states';
  seq: number;
  cells: ICellState[];
  steps: string[];
  edges: IEdge[];
  totals: {
    cells: number;
    runs: number;
    seconds: number;
    unknown: number;
    restored: number;
    saved_seconds: number;
    logical_bytes: number;
    unique_bytes: number;
  };
  first: string;
  problem: string;
  at: string;
  notice: string;
  auto: boolean;
  plain: boolean;
}

export interface IHello {
  type: 'hello';
  protocol: number;
  oldest: number;
  version: string;
  refused: string;
  notebook: string;
  /** The notebook was opened to go on from this cell, once. */
  continue?: { cell: string; once: string } | null;
}

/** What has just become of a cell; states follow. */
export interface IBecame {
  type: 'became';
  cell: string;
  state: State;
  reason: string;
  saved_seconds: number;
}

/** What a cell shows after going back. */
export interface IOutput {
  type: 'output';
  id: number;
  cell: string;
  count: number;
  outputs: any[];
}

export interface IDone {
  type: 'done';
  id: number;
  ok: boolean;
  reason: string;
  /** The file is not what the page shows. */
  unsaved?: boolean;
  next?: string;
  next_reason?: string;
  restored?: string[];
  folder?: string;
  notebook?: string;
  offer?: IOffer;
  link?: ILinked;
}

/** What sharing a snapshot would publish. */
export interface IOffer {
  snapshot: string;
  step: string;
  created: string;
  notebook: string;
  bytes: number;
  state: boolean;
  variables: string[];
  files: string[];
  left: { path: string; why: string }[];
  secrets: { rule: string; where: string }[];
}

/** A link that was made. */
export interface ILinked {
  link: string;
  id: string;
  expires: string;
  bytes: number;
  /** Only this machine can reach it. */
  local: boolean;
  /** A server was started for it. */
  started: boolean;
}

export type Told = IHello | IStates | IBecame | IOutput | IDone;

/** Why a kernel that says hello like this is not spoken with; '' if it is. */
export function refusal(hello: IHello): string {
  if (hello.refused) {
    return hello.refused;
  }
  if (hello.protocol < OLDEST) {
    return `The kernel's kedge ${hello.version} is older than this page's extension: run “kedge install” with the newer kedge and restart the kernel.`;
  }
  if (hello.oldest > NEWEST) {
    return `The kernel's kedge ${hello.version} is newer than this page's extension: run “kedge install” and reload the page.`;
  }
  return '';
}

/** Of this extension, for people. */
export const VERSION = '0.1.0';
