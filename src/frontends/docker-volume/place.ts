/**
 * Where a new volume comes from, as far as an engine's user has a say in it: a filesystem is its pool's, so stating one is
 * choosing among pools. And what is said of the pools where none of them will do.
 */
import { formatByteCount } from '../../domain/byte-count.ts';
import { type ErrorCode, Failure } from '../../domain/errors.ts';
import type { Pool } from '../../domain/pool.ts';
import { type FilesystemType, poollessFilesystem } from '../../domain/volume.ts';
import { refused, type VolumeWish } from './options.ts';

/**
 * The pools to ask for a volume with the filesystem, best first; null: none, it is made for itself. What else is wrong
 * with a pool that was named, the controller says. Throws why there is none.
 */
export function placesFor(
  { pool: named, sizeBytes = 0 }: VolumeWish,
  filesystem: FilesystemType,
  pools: readonly Pool[],
): readonly (string | null)[] {
  if (named !== undefined) return [suited(named, filesystem, pools)];
  const fitting = pools.filter(({ state, volumeSizeBytes }) => state === 'active' && volumeSizeBytes >= sizeBytes);
  const having = fitting.filter((pool) => pool.filesystem === filesystem);
  if (having.length > 0) return having.sort((a, b) => rank(a, sizeBytes) - rank(b, sizeBytes)).map(({ name }) => name);
  if (fitting.length === 0 && sizeBytes > 0 && filesystem === poollessFilesystem) return [null];
  const size = sizeBytes === 0 ? '' : ` and volumes of ${formatByteCount(sizeBytes)}`;
  throw new Failure('no-pool-fits', `No active pool has ${filesystem}${size}.`, { field: 'Opts.fs' });
}

function suited(name: string, filesystem: FilesystemType, pools: readonly Pool[]): string {
  const pool = pools.find((each) => each.name === name);
  if (pool === undefined || pool.filesystem === filesystem) return name;
  const accepted = `${pool.filesystem}, which pool "${name}" has, or another pool. ${poolsShown(pools)}`;
  throw refused('fs', filesystem, accepted);
}

/** As the controller itself ranks them: without a size the pool `default` first, else the smallest. */
function rank(pool: Pool, sizeBytes: number): number {
  return sizeBytes === 0 && pool.name === 'default' ? -1 : pool.volumeSizeBytes;
}

const aboutPools: ReadonlySet<ErrorCode> = new Set([
  'pool-not-found',
  'pool-draining',
  'pool-exhausted',
  'no-pool-fits',
]);

/** Whether it helps to know which pools there are. */
export function isAboutPools(error: unknown): error is Failure {
  return error instanceof Failure && aboutPools.has(error.code);
}

/** Whether a pool that would do gives volumes out and has some that are about to be free. */
export function isComing({ pool: named, sizeBytes = 0, filesystem }: VolumeWish, pools: readonly Pool[]): boolean {
  const ofName = pools.filter(({ name }) => named === undefined || name === named);
  const ofType = ofName.filter((pool) => filesystem === undefined || pool.filesystem === filesystem);
  const fitting = ofType.filter(({ state, volumeSizeBytes }) => state === 'active' && volumeSizeBytes >= sizeBytes);
  return fitting.some(({ status: { blockedReason, free, wiping, provisioning } }) => {
    return blockedReason === null && free + wiping + provisioning > 0;
  });
}

export function withPools({ problem }: Failure, pools: readonly Pool[]): Failure {
  return Failure.from({ ...problem, detail: `${problem.detail} ${poolsShown(pools)}.` });
}

const shownPools = 10;

function poolsShown(pools: readonly Pool[]): string {
  const active = pools.filter(({ state }) => state === 'active');
  const each = active.slice(0, shownPools).map(describe);
  if (active.length > shownPools) each.push(`${active.length - shownPools} more`);
  return each.length === 0 ? 'There is no active pool' : `Pools: ${each.join(', ')}`;
}

function describe({ name, filesystem, volumeSizeBytes, status }: Pool): string {
  return `${name} (${filesystem}, up to ${formatByteCount(volumeSizeBytes)}, ${status.free} free)`;
}
