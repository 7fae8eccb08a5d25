// Kale's tag grammar, as notebook/tags.go reads it, and how an edit of a cell's step changes its tags.

/** The tags that are a step by themselves. */
export const SPECIAL = ['imports', 'functions', 'pipeline-parameters', 'pipeline-metrics'];

/** What the tags of one cell say, as far as the step editor shows it. */
export interface ITagged {
  /** The step's name, '' if the cell joins the step above it. */
  step: string;
  /** One of SPECIAL, 'skip', or ''. */
  special: string;
  prev: string[];
  /** Whether the cell says cache:disabled. */
  uncached: boolean;
}

const named = /^(step|block):(.*)$/;

export function read(tags: readonly string[]): ITagged {
  const of: ITagged = { step: '', special: '', prev: [], uncached: tags.includes('cache:disabled') };
  for (const tag of tags) {
    const step = named.exec(tag);
    if (step) {
      of.step = of.step || step[2];
    } else if (tag.startsWith('prev:')) {
      of.prev.push(tag.slice('prev:'.length));
    } else if (SPECIAL.includes(tag)) {
      of.special = of.special || tag;
    }
  }
  if (tags.includes('skip')) {
    of.special = 'skip';
  }
  return of;
}

/** The tags that say what `of` says; those of others stay, where they are. A cell keeps Kale's word block: if it has it. */
export function write(tags: readonly string[], of: ITagged): string[] {
  const word = tags.find(tag => named.test(tag))?.startsWith('block:') ? 'block' : 'step';
  const ours = (tag: string) =>
    named.test(tag) || tag.startsWith('prev:') || SPECIAL.includes(tag) || tag === 'skip' || tag === 'cache:disabled' ||
    (of.uncached && tag === 'cache:enabled');
  const mine: string[] = [];
  if (of.special) {
    mine.push(of.special);
  } else if (of.step) {
    mine.push(`${word}:${of.step}`, ...of.prev.map(name => `prev:${name}`));
  }
  if (of.uncached) {
    mine.push('cache:disabled');
  }
  const at = tags.findIndex(ours);
  const others = tags.filter(tag => !ours(tag));
  return at < 0 ? [...others, ...mine] : [...tags.slice(0, at).filter(tag => !ours(tag)), ...mine, ...tags.slice(at).filter(tag => !ours(tag))];
}

/** The tags with a step's name replaced wherever it stands. */
export function rename(tags: readonly string[], from: string, to: string): string[] {
  return tags.map(tag => (/^(step|block|prev):/.test(tag) && tag.slice(tag.indexOf(':') + 1) === from ? tag.slice(0, tag.indexOf(':') + 1) + to : tag));
}

/** Why a name cannot be a step's; '' if it can. */
export function problem(name: string): string {
  return /[\s:]/.test(name) ? 'A step’s name must not hold spaces or colons.' : '';
}
