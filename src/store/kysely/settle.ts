/**
 * Outcomes of effects on volumes, sorted by what they lead to. Each is matched by volume and generation: an outcome of
 * an older round changes nothing.
 */

import type { VolumeState } from '../../domain/volume.ts';
import type { WipeProof } from '../../storage-node/storage-node.ts';
import type { VolumeSettle } from '../store.ts';
import type { Change } from './database.ts';
import type { ColumnType } from './engine.ts';
import { sql } from './sql.ts';

interface Settled {
  readonly id: string;
  readonly generation: number;
}

export interface Done extends Settled {
  readonly formatted: 0 | 1;
  readonly proof: WipeProof | null;
}

export interface Failed extends Settled {
  readonly reason: string;
  readonly failures: number;
}

export const settledColumns = {
  id: 'text',
  generation: 'bigint',
  formatted: 'bigint',
  reason: 'text',
  failures: 'bigint',
} as const satisfies Readonly<Record<string, ColumnType>>;

export interface SortedResults {
  readonly done: readonly Done[];
  readonly quarantined: readonly Failed[];
  readonly failed: readonly Failed[];
}

/** A result that is stated twice counts once. */
export function sortResults(results: readonly VolumeSettle[]): SortedResults {
  const done: Done[] = [];
  const quarantined: Failed[] = [];
  const failed: Failed[] = [];
  const unique = new Map(results.map((each) => [`${each.volumeId} ${each.generation}`, each]));
  for (const { volumeId: id, generation, result } of unique.values()) {
    if (result.ok) {
      done.push({ id, generation, formatted: result.formatted === true ? 1 : 0, proof: result.proof ?? null });
    } else {
      const { problem, quarantine, mediumFailures: failures = 0 } = result;
      const reason = `${problem.code}: ${problem.detail}`;
      (quarantine ? quarantined : failed).push({ id, generation, reason, failures });
    }
  }
  return { done, quarantined, failed };
}

export interface VolumeInPool {
  readonly id: string;
  readonly pool: string | null;
}

/** `from -> failed`, with the reason; the volume stays out of use until somebody clears it. */
export async function volumesQuarantine(
  tx: Change,
  list: readonly Failed[],
  from: VolumeState,
): Promise<readonly VolumeInPool[]> {
  if (list.length === 0) return [];
  const { rows } = await sql<VolumeInPool>`
    UPDATE volumes SET state = 'failed', failure_reason = j.reason, effect = NULL, lease_until = 0,
      version = version + 1
    FROM ${tx.engine.rows(list, settledColumns)} AS j
    WHERE volumes.id = j.id AND volumes.generation = j.generation
      AND ${tx.engine.unindexed('state')} = ${from} AND pending_operation IS NULL
    RETURNING volumes.id, pool`.execute(tx.db);
  for (const { id } of rows) tx.tell({ kind: 'volume', id, name: null, state: 'failed' });
  return rows;
}
