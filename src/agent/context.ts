import type { Attachment } from '../domain/attachment.ts';
import type { DeviceTarget, Host } from '../host/host.ts';
import type { Clock } from '../system/clock.ts';
import type { ControllerLink } from './controller-link.ts';
import type { FollowedStore } from './followed-store.ts';
import type { HeldAttachment, MountJournal } from './mount-journal.ts';
import type { PresenceReports } from './presence-reports.ts';

/** What every part of the agent works with. */
export interface AgentContext {
  readonly hostName: string;
  /** Of the running kernel: it cannot change while this process lives. */
  readonly bootId: string;
  /** Where mounts without a path of their own are shown; without symbolic links. */
  readonly volumesDirectory: string;
  readonly link: ControllerLink;
  readonly store: FollowedStore;
  readonly host: Host;
  readonly journal: MountJournal;
  readonly reports: PresenceReports;
  readonly clock: Clock;
  readonly logger: AgentLogger;
  readonly limits: AgentLimits;
}

export interface AgentLimits {
  /** How long a mount repeats an attach that the controller refuses for the moment. */
  readonly attachRetryMs: number;
  readonly mounts: number;
  /** How many volumes' epochs are remembered before those of volumes that are no more are looked for. */
  readonly epochs: number;
}

export interface AgentLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export function targetOf(attachment: Attachment): DeviceTarget {
  const { volumeId, mediaGeneration, epoch, paths, serial, wwid, sizeBytes, accessMode } = attachment;
  return { attachmentId: attachment.id, volumeId, mediaGeneration, epoch, paths, serial, wwid, sizeBytes, accessMode };
}

export function heldOf(attachment: Attachment): HeldAttachment {
  return { target: targetOf(attachment), filesystem: attachment.filesystem };
}

/** Whether the controller still grants what this host holds: the same attachment at the same epoch, not on its way out. */
export function isGranted(attachment: Attachment | null, epoch: number): attachment is Attachment {
  if (attachment === null || attachment.epoch !== epoch) return false;
  return attachment.state === 'exported' || attachment.state === 'attached';
}
