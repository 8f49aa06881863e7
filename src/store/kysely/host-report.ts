/**
 * What a host's word about its side of an attachment means. Pure.
 *
 * | report    | exported                 | attached                     | detaching, quarantined       |
 * |-----------|--------------------------|------------------------------|------------------------------|
 * | claimed   | claimed                  | same boot: nothing; else     | refused                      |
 * |           |                          | exported and claimed anew    |                              |
 * | attached  | attached                 | nothing, or the new boot's   | refused                      |
 * | formatted | the volume is formatted  | the volume is formatted      | the volume is formatted      |
 * | gone      | side none                | exported, side none          | side gone, the detach goes on|
 *
 * A claim that was accepted late, behind the beginning of a detach, would let the host make a device of which the
 * store believes that it cannot exist.
 */
import type { AttachmentState, HostSide } from '../../domain/attachment.ts';
import { attachmentTransitions } from '../../domain/attachment.ts';
import { type ErrorCode, type Problem, problem } from '../../domain/errors.ts';
import { assertTransition } from '../../domain/state-machine.ts';
import type { HostStateReport } from '../store.ts';

export interface HostSideOfAttachment {
  readonly id: string;
  readonly host: string;
  readonly state: AttachmentState;
  readonly hostSide: HostSide;
  readonly epoch: number;
  /** A batch is still deciding about it. */
  readonly held: boolean;
  readonly bootId: string | null;
  /** JSON of the last proof. */
  readonly proof: string | null;
  /** The volume's. */
  readonly formatted: boolean;
  /** Whether the volume still has the medium that the attachment leads to. */
  readonly sameMedium: boolean;
  /** The host has let go of what is being detached: whoever waits for it can go on. */
  readonly released: boolean;
}

export type ReportResult =
  | { readonly ok: true; readonly side: HostSideOfAttachment }
  | { readonly ok: false; readonly problem: Problem };

export function applyHostReport(side: HostSideOfAttachment | null, report: HostStateReport): ReportResult {
  if (side === null) return refused('attachment-not-found', `There is no attachment "${report.attachment}".`);
  if (side.host !== report.host) {
    return refused('forbidden', `Attachment "${side.id}" belongs to another host than "${report.host}".`);
  }
  if (side.epoch !== report.epoch) {
    return refused('stale-epoch', `Attachment "${side.id}" is at epoch ${side.epoch}, the report at ${report.epoch}.`);
  }
  const applied = meanings[report.side](side, report);
  if (applied.ok && applied.side.state !== side.state) {
    assertTransition(attachmentTransitions, side.state, applied.side.state, 'host-report-transition');
  }
  return applied;
}

type Meaning = (side: HostSideOfAttachment, report: HostStateReport) => ReportResult;

const meanings: Readonly<Record<HostStateReport['side'], Meaning>> = { claimed, attached, formatted, gone };

function claimed(side: HostSideOfAttachment, report: HostStateReport): ReportResult {
  const refusal = refuseUnlessExported(side);
  if (refusal !== null) return refusal;
  if (side.state === 'attached' && side.bootId === report.bootId) return { ok: true, side };
  if (side.held && side.hostSide === 'none') {
    return refused('resource-held', `A batch is still deciding about attachment "${side.id}".`);
  }
  return accepted(side, report, { state: 'exported', hostSide: 'claimed' });
}

function attached(side: HostSideOfAttachment, report: HostStateReport): ReportResult {
  return refuseUnlessExported(side) ?? accepted(side, report, { state: 'attached', hostSide: 'attached' });
}

function formatted(side: HostSideOfAttachment): ReportResult {
  if (!side.sameMedium || side.hostSide === 'none' || side.hostSide === 'gone') {
    return refused('stale-epoch', `Attachment "${side.id}" no longer leads to the device that was formatted.`);
  }
  return { ok: true, side: { ...side, formatted: true } };
}

function gone(side: HostSideOfAttachment, report: HostStateReport): ReportResult {
  if (side.state === 'exporting') return { ok: true, side };
  if (side.state === 'detaching' || side.state === 'quarantined') {
    return accepted(side, report, { hostSide: 'gone', released: true });
  }
  return { ok: true, side: { ...side, state: 'exported', hostSide: 'none', bootId: null, proof: proofOf(report) } };
}

function accepted(
  side: HostSideOfAttachment,
  report: HostStateReport,
  change: Partial<HostSideOfAttachment>,
): ReportResult {
  const proof = proofOf(report) ?? (side.bootId === report.bootId ? side.proof : null);
  return { ok: true, side: { ...side, bootId: report.bootId, proof, ...change } };
}

function refuseUnlessExported(side: HostSideOfAttachment): ReportResult | null {
  if (side.state === 'exported' || side.state === 'attached') return null;
  if (side.state === 'exporting')
    return refused('volume-not-ready', `Attachment "${side.id}" is still being exported.`);
  return refused('stale-epoch', `Attachment "${side.id}" is ${side.state}: its device must go.`);
}

function refused(code: ErrorCode, detail: string): ReportResult {
  return { ok: false, problem: problem(code, detail) };
}

function proofOf({ proof }: HostStateReport): string | null {
  return proof === null ? null : JSON.stringify(proof);
}
