import type { AccessMode, Attachment, HostStateReport } from '../domain/attachment.ts';
import type { Host, HostInventoryReport, HostRegistration, InventoryBegun } from '../domain/host.ts';
import type { Volume } from '../domain/volume.ts';

/**
 * What the agent needs of the controller: a few calls of its REST API. The agent knows nothing else of it.
 *
 * Every call is bounded in time, may be repeated, and throws a `Failure`: the controller's own problem where it
 * answered, `controller-unavailable` where it did not (the outcome is then unknown).
 */
export interface ControllerPort {
  /** `PUT /v1/hosts/{name}`. `host-conflict` when another machine holds the name or a port. */
  hostRegister(registration: HostRegistration): Promise<Host>;
  /** By name or id; null when there is none. */
  volumeGet(nameOrId: string): Promise<Volume | null>;
  /** `POST /v1/attachments`, waits for `exported`. The same fields again answer the attachment that is there. */
  attachmentCreate(request: AttachmentRequest): Promise<GrantedAttachment>;
  /** Null when it is released. */
  attachmentGet(id: string): Promise<Attachment | null>;
  /** All of them, over all pages. */
  attachmentList(filter: { readonly host: string; readonly state?: string }): Promise<readonly Attachment[]>;
  /**
   * `DELETE /v1/attachments/{id}`, answered as soon as the detach is durable (`Prefer: respond-async`). Absent is success.
   * `gone`: the device of this epoch is proved to be gone; with the wish goes all that the controller waits for.
   */
  attachmentDelete(id: string, gone?: { readonly epoch: number; readonly proof: string }): Promise<void>;
  /** `PUT /v1/attachments/{id}/host-state`. `stale-epoch` or `attachment-not-found` when it has moved on. */
  hostStateReport(report: HostStateReport): Promise<Attachment>;
  /** Begins a scan: what the controller's store knew when it began, and which store it is. */
  inventoryBegin(host: string): Promise<InventoryBegun>;
  inventoryReport(report: HostInventoryReport): Promise<PresenceAnswer>;
}

export interface AttachmentRequest {
  readonly volume: string;
  readonly host: string;
  readonly accessMode: AccessMode;
  readonly namespace?: string;
  /** This host asks for itself and is about to make the device. */
  readonly claim?: boolean;
}

export interface GrantedAttachment extends Attachment {
  /** It was there before this request: the claim alone is new, if anything is. */
  readonly existing: boolean;
}

export interface PresenceAnswer {
  readonly wanted: readonly Attachment[];
  readonly unwanted: readonly string[];
}
