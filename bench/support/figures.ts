import { cpus, totalmem } from 'node:os';
import Table from 'cli-table3';

/** What a bench prints: figures by name (the unit is last in it), and what each may be at most or at least. */
export type Figures = Readonly<Record<string, number | string>>;

export interface Bound {
  readonly atLeast?: number;
  readonly atMost?: number;
}

export interface Report {
  readonly bench: string;
  readonly options: Readonly<Record<string, string | number>>;
  readonly figures: Figures;
}

/** One object for programs; figures first, so that a reader can take them by name. */
export function reportAsJson(report: Report): string {
  const machine = { cpus: cpus().length, memoryMiB: Math.round(totalmem() / 1024 ** 2), node: process.version };
  return JSON.stringify({ ...report.figures, bench: report.bench, options: report.options, machine }, rounded, 2);
}

export function reportAsTable(report: Report, bounds: Readonly<Record<string, Bound>>): string {
  const table = new Table({ head: [report.bench, 'figure', 'asked for', ''], style: { head: [], border: [] } });
  for (const [name, value] of Object.entries(report.figures)) {
    const bound = bounds[name];
    table.push([name, shown(value), bound === undefined ? '' : boundText(bound), verdict(value, bound)]);
  }
  return table.toString();
}

/** Names of the figures that miss their bound. */
export function missed(figures: Figures, bounds: Readonly<Record<string, Bound>>): readonly string[] {
  return Object.entries(bounds).flatMap(([name, bound]) => (within(figures[name], bound) ? [] : [name]));
}

function within(value: number | string | undefined, { atLeast = -Infinity, atMost = Infinity }: Bound): boolean {
  return typeof value === 'number' && value >= atLeast && value <= atMost;
}

function verdict(value: number | string, bound: Bound | undefined): string {
  if (bound === undefined) return '';
  return within(value, bound) ? 'ok' : 'missed';
}

function boundText({ atLeast, atMost }: Bound): string {
  const texts = [
    atLeast === undefined ? '' : `>= ${shown(atLeast)}`,
    atMost === undefined ? '' : `<= ${shown(atMost)}`,
  ];
  return texts.filter((text) => text !== '').join(', ');
}

function shown(value: number | string): string {
  if (typeof value === 'string') return value;
  return value.toLocaleString('en-US', { maximumSignificantDigits: Math.abs(value) >= 1_000 ? 6 : 4 });
}

function rounded(_name: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(6)) : value;
}
