/**
 * Lists as tables for SQLite: a list is a parameter of the statement, and the rows of a table-valued function (`list1`,
 * `list2` ..., by the number of columns) while that statement runs. Written as JSON and read back, most of a statement's
 * time would go into the text: https://sqlite.org/json1.html#jeach renders a nested row anew for each of its fields.
 */
import type SqliteDatabase from 'better-sqlite3';
import { assert } from '../../domain/errors.ts';

/** More than the widest table has. */
const columnsMax = 40;

export class SqliteList {
  readonly #rows: readonly object[];
  readonly #names: readonly string[];

  constructor(rows: readonly object[], names: readonly string[]) {
    assert(names.length <= columnsMax, 'sqlite-list-width');
    this.#rows = rows;
    this.#names = names;
  }

  static ofTexts(texts: readonly string[]): SqliteList {
    return new SqliteList(
      texts.map((text) => ({ text })),
      ['text'],
    );
  }

  *cells(): Generator<unknown[]> {
    const names = this.#names;
    for (const row of this.#rows) yield names.map((name) => Reflect.get(row, name) ?? null);
  }
}

/** Hands the lists of the statement that runs to the functions that show them. */
export class SqliteLists {
  #current: readonly SqliteList[] = [];

  constructor(sqlite: SqliteDatabase.Database) {
    for (let width = 1; width <= columnsMax; width += 1) this.#define(sqlite, width);
  }

  /** Runs a statement whose parameters may be lists; for SQLite these are numbers. */
  during<A>(parameters: readonly unknown[], run: (bound: readonly unknown[]) => A): A {
    if (!parameters.some((each) => each instanceof SqliteList)) return run(parameters);
    const lists: SqliteList[] = [];
    const bound = parameters.map((each) => (each instanceof SqliteList ? lists.push(each) - 1 : each));
    this.#current = lists;
    try {
      return run(bound);
    } finally {
      this.#current = [];
    }
  }

  #define(sqlite: SqliteDatabase.Database, width: number): void {
    const lists = this;
    sqlite.table(listTable(width), {
      columns: Array.from({ length: width }, (_, index) => listColumn(index)),
      parameters: ['list'],
      *rows(index: unknown) {
        const list = lists.#current[Number(index)];
        assert(list !== undefined, 'sqlite-list-parameter');
        yield* list.cells();
      },
    });
  }
}

/** The function that shows lists of so many columns. */
export function listTable(width: number): string {
  return `list${width}`;
}

export function listColumn(index: number): string {
  return `c${index}`;
}
