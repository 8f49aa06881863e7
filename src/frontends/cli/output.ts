/** How answers are shown: tables for people, JSON for programs. Nothing here knows what it shows. */
import Table from 'cli-table3';

export interface Column<T> {
  readonly title: string;
  readonly of: (item: T) => string | number | boolean | null | undefined;
}

const noBorders = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '',
};
const plainStyle = { head: [], border: [], compact: true, 'padding-left': 0, 'padding-right': 2 };

/** A header and one line an item, in columns that `awk` can take apart; an empty cell is a dash. */
export function tableOf<T>(columns: readonly Column<T>[], items: readonly T[]): string {
  const table = new Table({ head: columns.map((column) => column.title), chars: noBorders, style: plainStyle });
  for (const item of items) table.push(columns.map((column) => cell(column.of(item))));
  return withoutTrailingSpace(table.toString());
}

/** One line a field. */
export function detailsOf<T>(columns: readonly Column<T>[], item: T): string {
  const table = new Table({ chars: noBorders, style: plainStyle });
  for (const column of columns) table.push([`${column.title}:`, cell(column.of(item))]);
  return withoutTrailingSpace(table.toString());
}

export function jsonOf(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

export function timeOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString().replace(/\.\d{3}Z$/, 'Z');
}

/** Control characters of a name from elsewhere must not reach a terminal. */
function cell(value: string | number | boolean | null | undefined): string {
  const text = value === null || value === undefined || value === '' ? '-' : String(value);
  return [...text].map((letter) => (letter < ' ' || letter === '\u007f' ? '?' : letter)).join('');
}

function withoutTrailingSpace(text: string): string {
  return `${text
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')}\n`;
}
