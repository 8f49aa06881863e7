import { type Static, Type } from 'typebox';
import { limits } from '../../config/limits.ts';
import type { Pool, PoolStatus } from '../../domain/pool.ts';
import { filesystemTypes } from '../../domain/volume.ts';
import * as field from '../../operations/field-schemas.ts';
import * as out from './output.ts';

const count = { minimum: 0, maximum: limits.poolVolumes };

const status = out.object<PoolStatus>('Volumes of the pool by state, and how requests fared.', {
  provisioning: out.integer('Volumes being made.', 0),
  free: out.integer('Volumes ready to be given out.', 10),
  allocated: out.integer('Volumes that somebody owns.', 2),
  wiping: out.integer('Returned volumes being wiped.', 0),
  failed: out.integer('Quarantined volumes.', 0),
  retired: out.integer('Volumes being removed for good.', 0),
  hits: out.integer('Requests served from a ready volume, since the pool was made.', 120),
  misses: out.integer('Requests that found no ready volume, since the pool was made.', 1),
  blockedReason: out.textOrNull('Why refill has stopped.', null),
});

export const poolSchema = out.named<Pool>(
  'Pool',
  out.object<Pool>('Volumes of one size on one backend, kept ready.', {
    id: out.text('Id of the pool.', 'pool_01JD0000000000000000000000'),
    name: out.text('Name of the pool.', 'fast'),
    backend: out.text('Backend that makes its volumes.', 'file'),
    storageNode: out.text('Storage node that holds them.', 'local'),
    volumeSizeBytes: out.integer('Size of each volume in bytes.', 1073741824),
    minFree: out.integer('Free volumes that are kept ready.', 10),
    maxVolumes: out.integer('Most volumes that the pool may have, in all states.', 100),
    filesystem: out.oneOf(filesystemTypes, 'Filesystem that volumes are formatted with ahead of demand.'),
    state: out.oneOf(['active', 'draining'], 'A draining pool gives out nothing and loses its free volumes.'),
    version: out.integer('Rises with every change of the pool; the ETag is made of it.', 1),
    createdAt: out.instant('When the pool was made'),
    status,
  }),
);
export const poolPageSchema = out.pageOf(poolSchema);

export const newPoolBody = Type.Object(
  {
    name: field.name({ description: 'Name of the pool.', examples: ['fast'] }),
    backend: field.reference({ description: 'Backend that makes its volumes.', examples: ['file'] }),
    storageNode: field.maybeReference({ description: 'Storage node; absent: the one that has the backend.' }),
    volumeSizeBytes: field.size({
      description:
        'Size of each volume: bytes, or a text with a unit, rounded up to whole sectors of 512 bytes; at least 16MiB, with xfs 300MiB.',
      examples: ['1GiB'],
    }),
    minFree: field.integer(count, { description: 'Free volumes to keep ready.', examples: [10] }),
    maxVolumes: field.integer(
      { minimum: 1, maximum: limits.poolVolumes },
      { description: 'Most volumes that the pool may have.', examples: [100] },
    ),
    filesystem: field.maybeOneOf(filesystemTypes, { description: 'Filesystem of its volumes; ext4 when absent.' }),
  },
  { additionalProperties: false },
);
export type NewPoolBody = Static<typeof newPoolBody>;

export const poolChangeBody = Type.Object(
  {
    minFree: field.maybeInteger(count, { description: 'Free volumes to keep ready.', examples: [20] }),
    maxVolumes: field.maybeInteger(
      { minimum: 1, maximum: limits.poolVolumes },
      { description: 'Most volumes that the pool may have.', examples: [200] },
    ),
    draining: field.maybeFlag({ description: 'True drains the pool, false takes it into use again.' }),
  },
  { additionalProperties: false },
);
export type PoolChangeBody = Static<typeof poolChangeBody>;
