/**
 * The counters of pools follow the states of their volumes: both change in one transaction, by differences.
 *
 * They always equal the counts (the contract suite recounts after random histories); a change of a volume's state
 * without its delta would let a pool grow over `maxVolumes` or hide free volumes for ever.
 */

import { assert } from '../../domain/errors.ts';
import type { VolumeState } from '../../domain/volume.ts';
import type { PoolCount, PoolDelta } from '../group.ts';
import type { Connection } from './database.ts';
import type { Columns, SqlEngine } from './engine.ts';
import { sql } from './sql.ts';

const counts: readonly PoolCount[] = [
  'provisioning',
  'free',
  'allocated',
  'wiping',
  'failed',
  'retired',
  'hits',
  'misses',
];
const columns: Columns = {
  pool: 'text',
  ...Object.fromEntries(counts.map((count) => [count, 'bigint'] as const)),
};

const sums = sql.fixed(
  sql.join(counts.map((count) => sql`${sql.id(count)} = ${sql.ref(`pools.${count}`)} + ${sql.ref(`j.${count}`)}`)),
);

/** One statement for any number of pools. */
export async function poolCountsApply(db: Connection, engine: SqlEngine, deltas: readonly PoolDelta[]): Promise<void> {
  const rows = deltas.filter(changesSomething).map(({ pool, counts: by }) => ({ ...zero, ...by, pool }));
  if (rows.length === 0) return;
  const answer = await sql`UPDATE pools SET ${sums} FROM ${engine.rows(rows, columns)} AS j
    WHERE pools.name = j.pool RETURNING pools.name`.execute(db);
  assert(answer.rows.length === rows.length, 'pool-counts-of-unknown-pool');
}

export interface StateChange {
  readonly pool: string | null;
  /** Null: the volume is new, or its row is gone. */
  readonly from: VolumeState | null;
  readonly to: VolumeState | null;
}

/** The deltas of volumes that changed their state; volumes without a pool count nowhere. */
export function deltasOf(changes: readonly StateChange[]): PoolDelta[] {
  const byPool = new Map<string, Partial<Record<PoolCount, number>>>();
  for (const { pool, from, to } of changes) {
    if (pool === null) continue;
    const delta = byPool.get(pool) ?? {};
    byPool.set(pool, delta);
    if (from !== null) delta[from] = (delta[from] ?? 0) - 1;
    if (to !== null) delta[to] = (delta[to] ?? 0) + 1;
  }
  return [...byPool].map(([pool, delta]) => ({ pool, counts: delta }));
}

const zero = Object.fromEntries(counts.map((count) => [count, 0] as const));

function changesSomething({ counts: by }: PoolDelta): boolean {
  return Object.values(by).some((difference) => difference !== 0);
}
