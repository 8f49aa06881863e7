import { newId, newSerial, wwidOf } from '../../src/domain/ids.ts';

/** A volume as the table `volumes` keeps it: free and formatted, in the pool `bench`, but for what is stated. */
export function volumeTableRecord(stated: Readonly<Record<string, unknown>> = {}): { readonly id: string } {
  const serial = newSerial();
  const free = {
    id: newId('vol'),
    name: null,
    pool: 'bench',
    storage_node: 'bench',
    backend: 'file',
    size_bytes: 1024 ** 3,
    state: 'free',
    generation: 1,
    media_generation: 1,
    serial,
    wwid: wwidOf(serial),
    filesystem: 'ext4',
    formatted: 1,
    qos_policy: null,
    labels: '{}',
    epoch: 0,
    writer: null,
    readers: 0,
    held_by: null,
    pending_operation: null,
    effect: null,
    lease_until: 0,
    failure_reason: null,
    created_at: 0,
    allocated_at: null,
    version: 1,
  };
  return { ...free, ...stated };
}
