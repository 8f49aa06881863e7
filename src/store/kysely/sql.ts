import { type Expression, type QueryResult, RawNode, ValueNode } from 'kysely';
import { assert } from '../../domain/errors.ts';
import type { SqliteList } from './sqlite-lists.ts';

/**
 * SQL as our statements are written: a template whose values are parameters, unless they are SQL themselves. Spelled as
 * Kysely's own tag, but put together as text at once: building nodes, visiting and compiling them would be most of what a
 * short statement costs, and the texts are the same each time. Works as a condition in Kysely's builder, too.
 */
export type SqlValue = string | number | bigint | null | SqliteList;

/** What statements are executed on. */
export interface SqlConnection {
  run<T>(statement: Sql<T>): Promise<QueryResult<T>>;
}

export class Sql<T = unknown> implements Expression<T> {
  readonly #texts: readonly string[];
  readonly #values: readonly (SqlValue | Sql)[];

  /** Each value stands between two texts. */
  constructor(texts: readonly string[], values: readonly (SqlValue | Sql)[]) {
    this.#texts = texts;
    this.#values = values;
  }

  get expressionType(): T | undefined {
    return undefined;
  }

  execute(connection: SqlConnection): Promise<QueryResult<T>> {
    return connection.run(this);
  }

  /** The parameters in their order, and the texts before, between and behind them. */
  flat(): { readonly texts: readonly string[]; readonly parameters: readonly SqlValue[] } {
    if (this.#values.every(isParameter)) return { texts: this.#texts, parameters: this.#values };
    const texts = [''];
    const parameters: SqlValue[] = [];
    this.#write(texts, parameters);
    return { texts, parameters };
  }

  toOperationNode(): RawNode {
    const { texts, parameters } = this.flat();
    return RawNode.create(texts, parameters.map(ValueNode.create));
  }

  #write(texts: string[], parameters: SqlValue[]): void {
    append(texts, this.#texts[0]);
    for (let index = 0; index < this.#values.length; index += 1) {
      const value = this.#values[index] ?? null;
      if (value instanceof Sql) value.#write(texts, parameters);
      else {
        parameters.push(value);
        texts.push('');
      }
      append(texts, this.#texts[index + 1]);
    }
  }
}

function isParameter(value: SqlValue | Sql): value is SqlValue {
  return !(value instanceof Sql);
}

export const sql = Object.assign(template, { id, ref, lit, raw, join, limit, fixed });

function template<T = unknown>(texts: TemplateStringsArray, ...values: readonly (SqlValue | Sql)[]): Sql<T> {
  return new Sql<T>(texts, values);
}

/** A name, quoted. */
function id(name: string): Sql {
  return raw(quoted(name));
}

/** A column, maybe with its table before a dot. */
function ref(column: string): Sql {
  return raw(column.split('.').map(quoted).join('.'));
}

/** A number as part of the text: for what is the same each time. */
function lit(value: number): Sql {
  assert(Number.isFinite(value), 'sql-literal');
  return raw(String(value));
}

/** So many rows at most. A sum: where it is a bare parameter SQLite compiles the statement anew each time that it runs. */
function limit(rows: number): Sql {
  return sql`LIMIT ${rows} + 0`;
}

/** The same in one piece, for what is put together once: it has no parameters. */
function fixed(statement: Sql): Sql {
  const { texts, parameters } = statement.flat();
  assert(parameters.length === 0, 'sql-fixed-parameters');
  return raw(texts.join(''));
}

/** The text as it is; never from outside. */
function raw(text: string): Sql {
  return new Sql([text], []);
}

const comma = raw(', ');

function join(items: readonly (SqlValue | Sql)[], separator: Sql = comma): Sql {
  const parts = items.flatMap((item, index) => (index === 0 ? [item] : [separator, item]));
  return new Sql(new Array<string>(parts.length + 1).fill(''), parts);
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function append(texts: string[], more = ''): void {
  texts[texts.length - 1] += more;
}
