/**
 * The controller as the agent sees it, in memory: epochs, claims, `stale-epoch`, detaching until the host says "gone".
 *
 * Faults it can show: `away` (answers nothing), `lost` (a named call takes effect and its answer is lost), `silent` (a
 * named call never answers). `onRelease` tells who watches it that an attachment has ended.
 */

import type {
  AttachmentRequest,
  ControllerPort,
  GrantedAttachment,
  PresenceAnswer,
} from '../../src/agent/controller-port.ts';
import { type Attachment, attachmentTransitions, type HostStateReport } from '../../src/domain/attachment.ts';
import { Failure } from '../../src/domain/errors.ts';
import type { Host, HostInventoryReport, HostRegistration, InventoryBegun } from '../../src/domain/host.ts';
import { mayFollow } from '../../src/domain/state-machine.ts';
import type { Volume } from '../../src/domain/volume.ts';

export type ControllerCall = keyof ControllerPort;

export class FakeController implements ControllerPort {
  readonly volumes = new Map<string, Volume>();
  readonly attachments = new Map<string, Attachment>();
  readonly announcements: HostRegistration[] = [];
  readonly reports: HostStateReport[] = [];
  readonly presence: HostInventoryReport[] = [];
  readonly lost = new Set<ControllerCall>();
  readonly silent = new Set<ControllerCall>();
  away = false;
  onRelease: (attachment: Attachment) => void = () => {};
  storeId = 'store-1';
  replacedStoreIds: string[] = [];
  /** How far the store has fallen behind: a backup was put back. */
  lostChanges = 0;
  #changes = 0;
  #ids = 0;
  readonly #changedAt = new Map<string, number>();

  addVolume(name: string, fields: Partial<Volume> = {}): Volume {
    const id = `vol_${name}`;
    const volume: Volume = {
      id,
      name,
      pool: 'default',
      storageNode: 'local',
      backend: 'file',
      sizeBytes: 64 * 1024 ** 2,
      state: 'allocated',
      generation: 1,
      mediaGeneration: 1,
      serial: `serial-${name}`,
      wwid: `naa.6${name}`,
      filesystem: 'ext4',
      formatted: true,
      qosPolicy: null,
      labels: {},
      epoch: 0,
      failureReason: null,
      createdAt: 0,
      allocatedAt: 0,
      wipeProof: null,
      attachments: [],
      ...fields,
    };
    this.volumes.set(id, volume);
    return volume;
  }

  /** The store is gone, and an empty one in its place. */
  emptyStore(): void {
    this.storeId = `store-after-${this.storeId}`;
    this.volumes.clear();
    this.attachments.clear();
  }

  /** `fcr adopt`. */
  adopt(former: string): void {
    this.replacedStoreIds = [...this.replacedStoreIds, this.storeId, former];
    this.storeId = `adopted-${this.storeId}`;
  }

  hostRegister(registration: HostRegistration): Promise<Host> {
    return this.#answer('hostRegister', () => {
      this.announcements.push(registration);
      const { name, machineId, bootId, simulated, initiatorPorts } = registration;
      const fixed = { id: name, state: 'online', lastSeenAt: 0, inventorySequence: 0, version: 1 } as const;
      return { ...fixed, name, machineId, bootId, simulated, initiatorPorts };
    });
  }

  volumeGet(nameOrId: string): Promise<Volume | null> {
    return this.#answer('volumeGet', () => this.#volume(nameOrId));
  }

  attachmentCreate(request: AttachmentRequest): Promise<GrantedAttachment> {
    return this.#answer('attachmentCreate', () => {
      const volume = this.#volume(request.volume);
      if (volume === null) throw new Failure('volume-not-found', `no volume ${request.volume}`);
      const present = this.#ofVolume(volume.id).find(({ host }) => host === request.host);
      if (present !== undefined) return { ...this.#existing(present, request), existing: true };
      this.#refuseSecondWriter(volume, request);
      return { ...this.#attach(volume, request), existing: false };
    });
  }

  attachmentGet(id: string): Promise<Attachment | null> {
    return this.#answer('attachmentGet', () => this.attachments.get(id) ?? null);
  }

  attachmentList({ host, state }: { readonly host: string; readonly state?: string }): Promise<readonly Attachment[]> {
    return this.#answer('attachmentList', () =>
      [...this.attachments.values()].filter(
        (each) => each.host === host && (state === undefined || each.state === state),
      ),
    );
  }

  attachmentDelete(id: string, gone?: { readonly epoch: number; readonly proof: string }): Promise<void> {
    return this.#answer('attachmentDelete', () => {
      const attachment = this.attachments.get(id);
      if (attachment === undefined) return;
      if (gone !== undefined && gone.epoch !== attachment.epoch) throw new Failure('stale-epoch', 'another epoch');
      this.#save({ ...attachment, state: 'detaching' });
      if (gone !== undefined) this.#hearGone(attachment, gone);
      if (gone !== undefined || attachment.hostSide === 'none' || attachment.hostSide === 'gone') this.#release(id);
    });
  }

  #hearGone(
    { id: attachment, host }: Attachment,
    { epoch, proof }: { readonly epoch: number; readonly proof: string },
  ): void {
    this.reports.push({ attachment, epoch, host, bootId: '', side: 'gone', proof: { kind: 'gone', method: proof } });
  }

  hostStateReport(report: HostStateReport): Promise<Attachment> {
    return this.#answer('hostStateReport', () => {
      const attachment = this.attachments.get(report.attachment);
      if (attachment === undefined) throw new Failure('attachment-not-found', `no attachment ${report.attachment}`);
      if (attachment.epoch !== report.epoch) throw new Failure('stale-epoch', 'the attachment has another epoch');
      this.reports.push(report);
      if (report.side === 'formatted') return this.#markFormatted(attachment);
      if (attachment.state === 'detaching' && report.side !== 'gone') throw new Failure('stale-epoch', 'detaching');
      return this.#takeSide(attachment, report.side);
    });
  }

  inventoryBegin(): Promise<InventoryBegun> {
    return this.#answer('inventoryBegin', () => {
      const { storeId, replacedStoreIds } = this;
      return { sequence: this.#changes - this.lostChanges, storeId, replacedStoreIds };
    });
  }

  inventoryReport(report: HostInventoryReport): Promise<PresenceAnswer> {
    return this.#answer('inventoryReport', () => {
      this.presence.push(report);
      const ofHost = [...this.attachments.values()].filter(({ host }) => host === report.host);
      for (const attachment of ofHost) {
        const isOld = (this.#changedAt.get(attachment.id) ?? 0) <= report.sequence;
        if (isOld && !report.present.includes(attachment.id)) this.#lostInReboot(attachment, report.bootId);
      }
      const wanted = [...this.attachments.values()].filter(({ state }) => state === 'exported' || state === 'attached');
      return { wanted, unwanted: report.present.filter((id) => !wanted.some((each) => each.id === id)) };
    });
  }

  async #answer<T>(call: ControllerCall, act: () => T): Promise<T> {
    if (this.silent.has(call)) await new Promise(() => {});
    await new Promise((resolve) => setImmediate(resolve));
    if (this.away) throw new Failure('controller-unavailable', 'connection refused');
    const answer = act();
    await new Promise((resolve) => setImmediate(resolve));
    if (this.lost.delete(call)) throw new Failure('controller-unavailable', 'connection reset');
    return structuredClone(answer);
  }

  #volume(nameOrId: string): Volume | null {
    return [...this.volumes.values()].find(({ id, name }) => id === nameOrId || name === nameOrId) ?? null;
  }

  #ofVolume(volumeId: string): Attachment[] {
    return [...this.attachments.values()].filter((each) => each.volumeId === volumeId);
  }

  #existing(present: Attachment, request: AttachmentRequest): Attachment {
    if (present.state === 'detaching') throw new Failure('resource-held', 'it is being detached');
    if (present.accessMode !== request.accessMode) throw new Failure('volume-in-use', 'attached in another mode');
    return request.claim === true && present.hostSide === 'none'
      ? this.#save({ ...present, hostSide: 'claimed' })
      : present;
  }

  #refuseSecondWriter(volume: Volume, request: AttachmentRequest): void {
    const others = this.#ofVolume(volume.id);
    const isShared = request.accessMode === 'read-only-many' && others.every((o) => o.accessMode === 'read-only-many');
    if (others.length > 0 && !isShared) throw new Failure('volume-in-use', 'it is attached elsewhere');
  }

  #attach(volume: Volume, request: AttachmentRequest): Attachment {
    const epoch = volume.epoch + 1;
    this.volumes.set(volume.id, { ...volume, epoch });
    this.#ids += 1;
    const { mediaGeneration, generation, wwid, serial, sizeBytes, filesystem, formatted } = volume;
    return this.#save({
      ...{ mediaGeneration, generation, wwid, serial, sizeBytes, filesystem, formatted, epoch },
      id: `att_${this.#ids}`,
      volumeId: volume.id,
      volume: volume.name,
      host: request.host,
      storageNode: 'local',
      accessMode: request.accessMode,
      namespace: request.namespace ?? null,
      state: 'exported',
      hostSide: request.claim === true ? 'claimed' : 'none',
      paths: [{ initiatorWwpn: '20:00:02:00:00:00:00:01', targetWwpn: '20:00:02:00:00:00:00:a0', lun: this.#ids }],
      createdAt: 0,
    });
  }

  #markFormatted(attachment: Attachment): Attachment {
    const volume = this.volumes.get(attachment.volumeId);
    if (volume !== undefined) this.volumes.set(volume.id, { ...volume, formatted: true });
    return this.#save({ ...attachment, formatted: true });
  }

  #takeSide(attachment: Attachment, side: 'claimed' | 'attached' | 'gone'): Attachment {
    if (side !== 'gone') {
      return this.#save({ ...attachment, hostSide: side, state: side === 'attached' ? 'attached' : attachment.state });
    }
    if (attachment.state !== 'detaching') return this.#save({ ...attachment, hostSide: 'none', state: 'exported' });
    const saved = this.#save({ ...attachment, hostSide: 'gone' });
    this.#release(attachment.id);
    return saved;
  }

  /** Absence means something only after a reboot. */
  #lostInReboot(attachment: Attachment, bootId: string): void {
    const last = this.reports.findLast((report) => report.attachment === attachment.id);
    if (attachment.hostSide === 'none' || last === undefined || last.bootId === bootId) return;
    this.#takeSide(attachment, 'gone');
  }

  #save(attachment: Attachment): Attachment {
    const before = this.attachments.get(attachment.id);
    const isLegal =
      before === undefined ||
      before.state === attachment.state ||
      mayFollow(attachmentTransitions, before.state, attachment.state);
    if (!isLegal) throw new Error(`${before.state} -> ${attachment.state}`);
    this.#changes += 1;
    this.#changedAt.set(attachment.id, this.#changes);
    this.attachments.set(attachment.id, attachment);
    return attachment;
  }

  #release(id: string): void {
    const attachment = this.attachments.get(id);
    if (attachment === undefined) return;
    this.#changes += 1;
    this.attachments.delete(id);
    this.onRelease(attachment);
  }
}
