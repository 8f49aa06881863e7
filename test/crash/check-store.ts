/** What must be true of the store's rows by themselves, and of what earlier rounds have seen. */
import type { Findings } from './findings.ts';
import type { Service } from './service.ts';
import { readCursor, type StoreImage } from './store-image.ts';

/** What one round tells the next ones. */
export class Memory {
  /** Highest epoch of each volume, and the attachment that had it. */
  readonly epochs = new Map<string, { readonly epoch: number; readonly attachment: string }>();
  /** The volume and medium that a WWID was seen with. */
  readonly wwids = new Map<string, string>();
  /** Volumes that somebody has owned: they may be free only after a wipe. */
  readonly owned = new Set<string>();
}

const counted = ['provisioning', 'free', 'allocated', 'wiping', 'failed', 'retired'] as const;

export function checkStore(findings: Findings, service: Service, store: StoreImage, memory: Memory): void {
  checkRest(findings, store);
  checkWriters(findings, store);
  checkEpochs(findings, store, memory);
  checkIdentities(findings, store, memory);
  checkProofs(findings, store, memory);
  checkPools(findings, store);
  checkCursor(findings, service);
}

function checkRest(findings: Findings, { openBatches, volumes, attachments, policies }: StoreImage): void {
  findings.expect(openBatches.length === 0, 'batches-open', () => openBatches.map(({ id }) => id).join(' '));
  for (const row of [...volumes, ...attachments, ...policies]) {
    const isFree = row.held_by === null && row.pending_operation === null;
    findings.expect(isFree, 'rows-held', () => `${row.id} is held by ${row.held_by ?? row.pending_operation}`);
  }
  const failed = volumes.filter(({ state }) => state === 'failed');
  findings.expect(failed.length === 0, 'volumes-quarantined', () =>
    failed.map((row) => `${row.id}: ${row.failure_reason}`).join('; '),
  );
}

function checkWriters(findings: Findings, { volumes, attachments }: StoreImage): void {
  for (const row of volumes) {
    const own = attachments.filter(({ volume_id }) => volume_id === row.id);
    const writers = own.filter(({ access_mode }) => access_mode === 'single-writer').map(({ id }) => id);
    findings.expect(writers.length <= 1, 'two-writers', () => `${row.id}: ${writers.join(' ')}`);
    const isSame = (writers[0] ?? null) === row.writer && own.length - writers.length === row.readers;
    findings.expect(isSame, 'writer-differs', () => `${row.id}: ${row.writer}, attached: ${writers.join(' ')}`);
  }
  const ids = new Set(volumes.map(({ id }) => id));
  const lost = attachments.filter(({ volume_id }) => !ids.has(volume_id));
  findings.expect(lost.length === 0, 'attachments-without-volume', () => lost.map(({ id }) => id).join(' '));
}

function checkEpochs(findings: Findings, { attachments }: StoreImage, memory: Memory): void {
  for (const { id, volume_id, epoch } of attachments) {
    const last = memory.epochs.get(volume_id);
    const rises = last === undefined || (last.attachment === id ? last.epoch === epoch : last.epoch < epoch);
    findings.expect(
      rises,
      'epoch-not-risen',
      () => `${volume_id}: ${last?.attachment} had ${last?.epoch}, ${id} has ${epoch}`,
    );
    memory.epochs.set(volume_id, { epoch, attachment: id });
  }
}

function checkIdentities(findings: Findings, { volumes }: StoreImage, memory: Memory): void {
  findings.expectUnique(
    'wwid-repeated',
    volumes.map(({ wwid }) => wwid),
  );
  findings.expectUnique(
    'serial-repeated',
    volumes.map(({ serial }) => serial),
  );
  for (const { id, wwid, media_generation } of volumes) {
    const medium = `${id}.${media_generation}`;
    const earlier = memory.wwids.get(wwid) ?? medium;
    findings.expect(earlier === medium, 'wwid-repeated', () => `${wwid} was ${earlier} and is ${medium}`);
    memory.wwids.set(wwid, medium);
  }
}

function checkProofs(findings: Findings, { volumes }: StoreImage, memory: Memory): void {
  for (const { id, state } of volumes) if (state === 'allocated') memory.owned.add(id);
  for (const { id, state, wipe_proof, media_generation } of volumes) {
    if (state !== 'free' || !memory.owned.has(id)) continue;
    const proof =
      wipe_proof === null ? null : (JSON.parse(wipe_proof) as { generation: number; verifiedBytes: number });
    const holds = proof !== null && proof.generation === media_generation && proof.verifiedBytes > 0;
    findings.expect(holds, 'free-without-proof', () => `${id} at ${media_generation}: ${wipe_proof}`);
  }
}

function checkPools(findings: Findings, { pools, volumes }: StoreImage): void {
  for (const pool of pools) {
    const own = volumes.filter((row) => row.pool === pool.name);
    for (const state of counted) {
      const count = own.filter((row) => row.state === state).length;
      findings.expect(
        pool[state] === count,
        'pool-counter-differs',
        () => `${pool.name}.${state}: ${pool[state]}, not ${count}`,
      );
    }
    const held = own.filter(({ state }) => state !== 'retired').length;
    findings.expect(
      held <= pool.max_volumes,
      'pool-over-maximum',
      () => `${pool.name}: ${held} of ${pool.max_volumes}`,
    );
  }
}

function checkCursor(findings: Findings, service: Service): void {
  const { oldest, newest, count, commits } = readCursor(service.storeFile);
  const whole = oldest === 1 && newest === commits && count === commits;
  findings.expect(whole, 'events-have-gaps', () => JSON.stringify({ oldest, newest, count, commits }));
}
