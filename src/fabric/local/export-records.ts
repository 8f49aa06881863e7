/**
 * What is exported to whom, as rebuilt from the log of exports.
 *
 * One record per attachment; a link's name belongs to at most one of them.
 */
import type { Path } from '../../domain/attachment.ts';
import { assert } from '../../domain/errors.ts';
import type { RecordState } from '../../system/record-log.ts';

export interface ExportRecord {
  readonly attachmentId: string;
  readonly volumeId: string;
  readonly generation: number;
  readonly location: string;
  readonly paths: readonly Path[];
}

/** The attachment is not exported any more. */
export interface UnexportRecord {
  readonly attachmentId: string;
  readonly gone: true;
}

export type ExportLogRecord = ExportRecord | UnexportRecord;

export function linkName({ targetWwpn, initiatorWwpn, lun }: Path): string {
  return `${targetWwpn}/${initiatorWwpn}/${lun}`;
}

export class ExportRecords implements RecordState<ExportLogRecord> {
  readonly #byAttachment = new Map<string, ExportRecord>();
  readonly #ownerByLink = new Map<string, string>();

  get size(): number {
    return this.#byAttachment.size;
  }

  get(attachmentId: string): ExportRecord | undefined {
    return this.#byAttachment.get(attachmentId);
  }

  ownerOf(link: string): ExportRecord | undefined {
    const attachmentId = this.#ownerByLink.get(link);
    return attachmentId === undefined ? undefined : this.#byAttachment.get(attachmentId);
  }

  parse(value: unknown): ExportLogRecord | null {
    if (typeof value !== 'object' || value === null || !('attachmentId' in value)) return null;
    if ('gone' in value || 'location' in value) return value as ExportLogRecord;
    return null;
  }

  apply(record: ExportLogRecord): void {
    for (const path of this.get(record.attachmentId)?.paths ?? []) this.#ownerByLink.delete(linkName(path));
    this.#byAttachment.delete(record.attachmentId);
    if ('gone' in record) return;
    this.#byAttachment.set(record.attachmentId, record);
    for (const path of record.paths) {
      assert(!this.#ownerByLink.has(linkName(path)), 'export-link-owned-twice');
      this.#ownerByLink.set(linkName(path), record.attachmentId);
    }
  }

  snapshot(): Iterable<ExportRecord> {
    return this.#byAttachment.values();
  }
}
