/**
 * Moves this host toward what the controller wants of it; takes no arguments, and leaves retrying to its next run.
 *
 * The order is what makes it safe: the scan's sequence, then reality, then intent. Whatever somebody works on meanwhile
 * is left alone, and each attachment is asked for again just before something is done about it. An inventory that
 * cannot be read ends the run: nothing is reported and nothing removed. So does a store that this host does not follow.
 */
import type { Attachment } from '../domain/attachment.ts';
import { Failure, problemOf } from '../domain/errors.ts';
import type { DeviceFound, HostInventory } from '../host/host.ts';
import { GroupCommit } from '../system/group-commit.ts';
import { type AgentContext, heldOf } from './context.ts';
import { ForgottenEpochs } from './forgotten-epochs.ts';
import type { MountRecord } from './mount-journal.ts';
import type { AgentObserver } from './observer.ts';
import type { Registration } from './registration.ts';
import type { VolumeGate, Watch } from './volume-gate.ts';
import { isClaimed, needsWork, settleVolume, type VolumeOutcome, type VolumeView } from './volume-settle.ts';

export interface ReconcilerOptions {
  readonly context: AgentContext;
  readonly gate: VolumeGate;
  readonly registration: Registration;
  readonly parallel: number;
  readonly observer: AgentObserver;
}

export interface ReconcileSummary {
  readonly at: number;
  readonly durationMs: number;
  /** Null: the run came to its end. */
  readonly problem: string | null;
  readonly outcomes: Readonly<Record<VolumeOutcome, number>>;
}

/** What one scan found, by volume; taken in the order of the file's heading. */
interface Scan {
  readonly sequence: number;
  readonly inventory: HostInventory;
  readonly attachments: readonly Attachment[];
}

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #runs = new GroupCommit<null>(() => this.#runOnce());
  readonly #epochs: ForgottenEpochs;
  #last: ReconcileSummary | null = null;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#epochs = new ForgottenEpochs(options.context);
  }

  get last(): ReconcileSummary | null {
    return this.#last;
  }

  /** Resolves when a run that began after this call has ended; how it went is in its summary. */
  async run(): Promise<ReconcileSummary> {
    await this.#runs.add([null]);
    return this.#last ?? this.#summary(0, 'never ran', noOutcomes());
  }

  async settled(): Promise<void> {
    await this.#runs.settled();
  }

  async #runOnce(): Promise<void> {
    const { context } = this.#options;
    const began = context.clock.monotonic();
    const outcomes = noOutcomes();
    try {
      await this.#reconcile(outcomes);
      this.#last = this.#summary(began, null, outcomes);
    } catch (error) {
      context.logger.warn({ err: error }, 'the host could not be reconciled');
      this.#last = this.#summary(began, problemOf(error).detail, outcomes);
    }
    const { durationMs, problem } = this.#last;
    this.#options.observer.reconciled({ succeeded: problem === null, durationMs, volumes: outcomes });
  }

  #summary(began: number, problem: string | null, outcomes: ReconcileSummary['outcomes']): ReconcileSummary {
    const { clock } = this.#options.context;
    return { at: clock.now(), durationMs: Math.round(clock.monotonic() - began), problem, outcomes };
  }

  async #reconcile(outcomes: Record<VolumeOutcome, number>): Promise<void> {
    const { gate, registration, parallel } = this.#options;
    await registration.refresh();
    const watch = gate.watch();
    try {
      const scan = await this.#scan();
      await this.#report(scan);
      const all = this.#views(scan);
      const views = all.filter((view) => needsWork(view));
      await forEachBounded(views, parallel, async (view) => {
        outcomes[await this.#settle(view, watch)] += 1;
      });
      const here = new Set([...all, ...scan.inventory.mounts].map(({ volumeId }) => volumeId));
      await this.#epochs.run((volumeId) => here.has(volumeId) || watch.touched.has(volumeId));
    } finally {
      watch.end();
    }
  }

  async #scan(): Promise<Scan> {
    const { host, hostName, link, store } = this.#options.context;
    const { sequence } = await store.follow();
    const inventory = await host.inventory();
    const attachments = await link.call((controller) => controller.attachmentList({ host: hostName }));
    return { sequence, inventory, attachments };
  }

  /**
   * An attachment is present as long as a device of it or a record is; and while it counts as claimed, because somebody
   * may be at work on it, and what is left of a claim is ended by its own proof, not by absence.
   */
  async #report(scan: Scan): Promise<void> {
    const { context } = this.#options;
    const records = context.journal.list();
    const volumes = new Set(records.map((record) => record.volumeId));
    for (const device of scan.inventory.devices) volumes.add(device.volumeId);
    const present = new Set(records.flatMap((record) => record.held?.target.attachmentId ?? []));
    for (const attachment of scan.attachments) {
      if (volumes.has(attachment.volumeId) || isClaimed(attachment)) present.add(attachment.id);
    }
    const { hostName: host, bootId } = context;
    const report = { host, bootId, sequence: scan.sequence, present: [...present] };
    await context.link.call((controller) => controller.inventoryReport(report));
  }

  #views(scan: Scan): readonly VolumeView[] {
    const records = Map.groupBy(this.#options.context.journal.list(), (record: MountRecord) => record.volumeId);
    const devices = Map.groupBy(scan.inventory.devices, (device: DeviceFound) => device.volumeId);
    const attachments = new Map(scan.attachments.map((attachment) => [attachment.volumeId, attachment]));
    const volumeIds = new Set([...records.keys(), ...devices.keys(), ...attachments.keys()]);
    return [...volumeIds].map((volumeId) => ({
      volumeId,
      inventory: scan.inventory,
      records: records.get(volumeId) ?? [],
      devices: devices.get(volumeId) ?? [],
      listed: attachments.get(volumeId) ?? null,
    }));
  }

  async #settle(view: VolumeView, watch: Watch): Promise<VolumeOutcome> {
    const { context, gate } = this.#options;
    let outcome: VolumeOutcome = 'left';
    try {
      await gate.runUntouched(watch, view.volumeId, async () => {
        outcome = await settleVolume(context, view);
      });
      return outcome;
    } catch (error) {
      if (error instanceof Failure && error.code === 'store-foreign') return 'foreign';
      const attachment = view.listed === null ? null : heldOf(view.listed).target.attachmentId;
      context.logger.warn({ err: error, volume: view.volumeId, attachment }, 'a volume could not be reconciled');
      return 'failed';
    }
  }
}

function noOutcomes(): Record<VolumeOutcome, number> {
  return { left: 0, kept: 0, remade: 0, released: 0, foreign: 0, failed: 0 };
}

async function forEachBounded<T>(items: readonly T[], parallel: number, action: (item: T) => Promise<void>) {
  const rest = items.values();
  const work = async () => {
    for (const item of rest) await action(item);
  };
  await Promise.all(Array.from({ length: Math.min(parallel, items.length) }, work));
}
