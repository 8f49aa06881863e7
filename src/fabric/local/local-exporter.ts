/**
 * Shows media to initiators of this very machine: a path is a symbolic link
 * `<dataDirectory>/exports/<targetWwpn>/<initiatorWwpn>/<lun>` -> absolute path of the medium.
 *
 * The log of exports is the durable truth (one durable write for all exports of a moment); the links follow it and are made
 * to agree with it at open, so they need no fsync of their own. Both change side by side, and the answer waits for both:
 * a link that does not fit its record can only be what a crash left of a request that was never answered.
 *
 * Cannot fence: a host that has the file open keeps it. Relies on one process per data directory.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { limits } from '../../config/limits.ts';
import { Failure, type Problem } from '../../domain/errors.ts';
import { isWwpn } from '../../domain/wwpn.ts';
import type { EffectResult, ExportFound, ExportRequest, UnexportRequest } from '../../storage-node/storage-node.ts';
import { BlockingPool, siblingModule } from '../../system/blocking-pool.ts';
import { isAbsent, makeDirectoryDurably } from '../../system/durable-file.ts';
import { GroupCommit } from '../../system/group-commit.ts';
import { RecordLog } from '../../system/record-log.ts';
import type { Exporter } from '../exporter.ts';
import { type ExportLogRecord, type ExportRecord, ExportRecords, linkName } from './export-records.ts';
import type { LinkChange, LinkFound } from './link-calls.ts';
import { localTargetPort, type TargetPortOptions } from './target-port.ts';

export interface LocalExporterOptions extends TargetPortOptions {
  /** Told after each step, by name; what it throws ends the action there. */
  readonly onStep?: (step: LocalExporterStep) => void;
}

export type LocalExporterStep = 'logged' | 'linked' | 'unlinked' | 'unlogged';

interface PendingChange extends LinkChange {
  readonly settle: (obstacle: string | null) => void;
}

interface Parts {
  readonly root: string;
  readonly records: ExportRecords;
  readonly log: RecordLog<ExportLogRecord>;
  readonly threads: BlockingPool;
  readonly targetPorts: Exporter['targetPorts'];
  readonly onStep: (step: LocalExporterStep) => void;
}

export class LocalExporter implements Exporter {
  readonly name = 'local';
  readonly canFence = false;
  readonly targetPorts: Exporter['targetPorts'];
  readonly #root: string;
  readonly #records: ExportRecords;
  readonly #log: RecordLog<ExportLogRecord>;
  readonly #threads: BlockingPool;
  readonly #onStep: (step: LocalExporterStep) => void;
  readonly #changes = new GroupCommit<PendingChange>((changes) => this.#changeLinks(changes));
  /** Links that exports under way are about to own. */
  readonly #claims = new Map<string, string>();

  private constructor(parts: Parts) {
    this.targetPorts = parts.targetPorts;
    this.#root = parts.root;
    this.#records = parts.records;
    this.#log = parts.log;
    this.#threads = parts.threads;
    this.#onStep = parts.onStep;
  }

  static async open(options: LocalExporterOptions): Promise<LocalExporter> {
    const root = join(options.dataDirectory, 'exports');
    const logPath = join(options.dataDirectory, 'exports.log');
    await makeDirectoryDurably(root);
    const isFirst = await isMissing(logPath);
    const targetPorts = [{ wwpn: await localTargetPort(options), fabric: 'local', synthesized: true }];
    const records = new ExportRecords();
    const log = await RecordLog.open(logPath, records);
    const threads = new BlockingPool({
      moduleUrl: siblingModule(import.meta.url, './link-calls'),
      threads: limits.linkThreads,
    });
    const onStep = options.onStep ?? (() => {});
    const exporter = new LocalExporter({ root, records, log, threads, targetPorts, onStep });
    try {
      await exporter.#makeLinksAgree(isFirst);
    } catch (error) {
      await exporter.close();
      throw error;
    }
    return exporter;
  }

  async export(request: ExportRequest, location: string): Promise<EffectResult<null>> {
    const { attachmentId, volumeId, generation, paths } = request;
    const obstacle = this.#obstacleTo(request);
    if (obstacle !== null) return { ok: false, problem: obstacle };
    const record = { attachmentId, volumeId, generation, location, paths };
    return await this.#claiming(record, () => this.#exportRecord(record, this.#records.get(attachmentId)));
  }

  async unexport(request: UnexportRequest): Promise<EffectResult<null>> {
    const record = this.#records.get(request.attachmentId);
    if (record === undefined) return { ok: true, value: null };
    return await this.#claiming(record, () => this.#unexportRecord(record));
  }

  /** Links that are there and lead where their record says. */
  async inventory(): Promise<readonly ExportFound[]> {
    const found: ExportFound[] = [];
    for (const { name, location } of await this.#listLinks()) {
      const record = this.#records.ownerOf(name);
      const path = record?.paths.find((each) => linkName(each) === name);
      if (record === undefined || path === undefined || record.location !== location) continue;
      const { volumeId, attachmentId, generation } = record;
      found.push({ volumeId, attachmentId, generation, path });
    }
    return found;
  }

  async close(): Promise<void> {
    await this.#changes.settled();
    await this.#log.close();
    await this.#threads.close();
  }

  /** Nobody else gets the links of a record that is changing, though the log may be ahead of them. */
  async #claiming<T>({ attachmentId, paths }: ExportRecord, change: () => Promise<T>): Promise<T> {
    const names = paths.map(linkName);
    for (const name of names) this.#claims.set(name, attachmentId);
    try {
      return await change();
    } finally {
      for (const name of names) this.#claims.delete(name);
    }
  }

  /** Paths are added before outdated ones are removed. What cannot be logged or linked is taken back. */
  async #exportRecord(record: ExportRecord, before: ExportRecord | undefined): Promise<EffectResult<null>> {
    const names = record.paths.map(linkName);
    const outdated = (before?.paths ?? []).map(linkName);
    const additions = names.map((name) => addition(name, record.location, outdated.includes(name)));
    const [logged, linked] = await Promise.allSettled([
      this.#append('logged', isSame(record, before) ? [] : [record]),
      this.#change(additions),
    ]);
    if (logged.status === 'rejected' || linked.status === 'rejected' || linked.value.length > 0) {
      await this.#unlinkAdded(record, before);
    }
    if (logged.status === 'rejected') throw logged.reason;
    if (linked.status === 'rejected') throw linked.reason;
    if (linked.value.length > 0) {
      await this.#log.append([before ?? { attachmentId: record.attachmentId, gone: true }]);
      return failed(linked.value);
    }
    const leftOver = await this.#change(outdated.filter((name) => !names.includes(name)).map(removal));
    this.#onStep('linked');
    return leftOver.length > 0 ? failed(leftOver) : { ok: true, value: null };
  }

  async #unexportRecord(record: ExportRecord): Promise<EffectResult<null>> {
    const [logged, unlinked] = await Promise.allSettled([
      this.#append('unlogged', [{ attachmentId: record.attachmentId, gone: true }]),
      this.#change(record.paths.map((path) => removal(linkName(path)))).then((obstacles) => {
        this.#onStep('unlinked');
        return obstacles;
      }),
    ]);
    if (logged.status === 'rejected') throw logged.reason;
    if (unlinked.status === 'fulfilled' && unlinked.value.length === 0) return { ok: true, value: null };
    await this.#log.append([record]);
    if (unlinked.status === 'rejected') throw unlinked.reason;
    return failed(unlinked.value);
  }

  async #append(step: LocalExporterStep, records: readonly ExportLogRecord[]): Promise<void> {
    await this.#log.append(records);
    this.#onStep(step);
  }

  async #unlinkAdded(record: ExportRecord, before: ExportRecord | undefined): Promise<void> {
    const kept = (before?.paths ?? []).map(linkName);
    const ours = (await this.#listLinks()).filter(({ location }) => location === record.location);
    const names = new Set(record.paths.map(linkName).filter((name) => !kept.includes(name)));
    await this.#change(ours.filter(({ name }) => names.has(name)).map(({ name }) => removal(name)));
  }

  /** Why the request cannot be carried out whatever the links are; null when nothing is in its way. */
  #obstacleTo({ attachmentId, paths }: ExportRequest): Problem | null {
    for (const path of paths) {
      const isValid = isWwpn(path.targetWwpn) && isWwpn(path.initiatorWwpn) && Number.isSafeInteger(path.lun);
      if (!isValid || path.lun < 0) {
        return new Failure('invalid-request', `${JSON.stringify(path)} is not a path.`).problem;
      }
      const name = linkName(path);
      const holder = this.#claims.get(name) ?? this.#records.ownerOf(name)?.attachmentId ?? attachmentId;
      if (holder !== attachmentId) {
        return new Failure('resource-in-use', `${name} belongs to attachment ${holder}.`, { related: { holder } })
          .problem;
      }
    }
    return null;
  }

  /** Answers what stood in the way of any. */
  async #change(changes: readonly LinkChange[]): Promise<string[]> {
    if (changes.length === 0) return [];
    const obstacles: string[] = [];
    const settle = (obstacle: string | null) => {
      if (obstacle !== null) obstacles.push(obstacle);
    };
    await this.#changes.add(changes.map((change) => ({ ...change, settle })));
    return obstacles;
  }

  async #changeLinks(changes: readonly PendingChange[]): Promise<void> {
    const plain = changes.map(({ name, location, mayReplace }): LinkChange => ({ name, location, mayReplace }));
    const answers = await this.#call<(string | null)[]>('changeLinks', [this.#root, plain]);
    for (const [at, change] of changes.entries()) change.settle(answers[at] ?? null);
  }

  async #listLinks(): Promise<readonly LinkFound[]> {
    return await this.#call<LinkFound[]>('listLinks', [this.#root]);
  }

  #call<T>(name: string, args: readonly unknown[]): Promise<T> {
    return this.#threads.run<T>(name, args, { deadlineMs: limits.linkCallMs });
  }

  async #makeLinksAgree(isFirst: boolean): Promise<void> {
    const present = new Map((await this.#listLinks()).map(({ name, location }) => [name, location]));
    if (isFirst && present.size > 0) {
      throw new Failure('data-damaged', `${this.#root} has links, but the log of exports is missing.`);
    }
    const changes: LinkChange[] = [];
    for (const record of this.#records.snapshot()) {
      for (const name of record.paths.map(linkName)) {
        if (present.get(name) !== record.location) changes.push(addition(name, record.location, true));
        present.delete(name);
      }
    }
    for (const name of present.keys()) changes.push(removal(name));
    const obstacles = await this.#change(changes);
    if (obstacles.length > 0) throw new Failure('device-error', obstacles.join('; '));
  }
}

function addition(name: string, location: string, mayReplace: boolean): LinkChange {
  return { name, location, mayReplace };
}

function removal(name: string): LinkChange {
  return { name, location: null, mayReplace: false };
}

function failed(obstacles: readonly string[]): EffectResult<null> {
  return { ok: false, problem: new Failure('device-error', obstacles.join('; ')).problem };
}

function isSame(one: ExportRecord, other: ExportRecord | undefined): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

async function isMissing(path: string): Promise<boolean> {
  try {
    await stat(path);
    return false;
  } catch (error) {
    if (isAbsent(error)) return true;
    throw error;
  }
}
