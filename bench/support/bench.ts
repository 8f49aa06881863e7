import type { Bound, Figures } from './figures.ts';

export type Progress = (text: string) => void;

export interface BenchOption {
  readonly about: string;
  readonly default: string | number;
  /** The only values that are accepted; any, of the default's type, when absent. */
  readonly among?: readonly string[];
}

export type OptionValues = Readonly<Record<string, string | number>>;

/** One bench, in a file of its own below `bench/`, which exports it as `bench`. */
export interface Bench {
  readonly about: string;
  readonly options: Readonly<Record<string, BenchOption>>;
  /** What is asked of the figures of such a run; shown beside them, never a reason to fail unless `--check` is given. */
  bounds(options: OptionValues): Readonly<Record<string, Bound>>;
  run(options: OptionValues, progress: Progress): Promise<Figures>;
}

export function textOption(options: OptionValues, name: string): string {
  const value = options[name];
  if (typeof value !== 'string') throw new Error(`the bench has no text option ${name}`);
  return value;
}

export function numberOption(options: OptionValues, name: string): number {
  const value = options[name];
  if (typeof value !== 'number') throw new Error(`the bench has no number option ${name}`);
  return value;
}

/** Parses `--name value` and `--name=value`; throws a sentence for people. */
export function parseOptions(bench: Bench, argv: readonly string[]): OptionValues {
  const values = new Map<string, string | number>();
  for (const [name, option] of Object.entries(bench.options)) values.set(name, option.default);
  const words = argv.flatMap((word) => (word.startsWith('--') && word.includes('=') ? splitOnce(word) : [word]));
  for (let at = 0; at < words.length; at += 2) {
    const name = (words[at] ?? '').replace(/^--/, '');
    const option = bench.options[name];
    if (option === undefined) throw new Error(`no option ${words[at]}; there are ${optionList(bench)}`);
    values.set(name, parseOption(name, option, words[at + 1]));
  }
  return Object.fromEntries(values);
}

function parseOption(name: string, option: BenchOption, text: string | undefined): string | number {
  if (text === undefined) throw new Error(`--${name} needs a value`);
  if (option.among !== undefined && !option.among.includes(text)) {
    throw new Error(`--${name} is one of ${option.among.join(', ')}, not ${text}`);
  }
  if (typeof option.default === 'string') return text;
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new Error(`--${name} is a number, not ${text}`);
  return value;
}

function optionList(bench: Bench): string {
  return ['--json', '--check', ...Object.keys(bench.options).map((name) => `--${name}`)].join(', ');
}

function splitOnce(word: string): string[] {
  const equals = word.indexOf('=');
  return [word.slice(0, equals), word.slice(equals + 1)];
}
