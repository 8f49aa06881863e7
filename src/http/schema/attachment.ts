import { type Static, Type } from 'typebox';
import {
  type Attachment,
  type AttachmentState,
  accessModes,
  attachmentTransitions,
  type HostSide,
  type Path,
} from '../../domain/attachment.ts';
import { filesystemTypes } from '../../domain/volume.ts';
import * as field from '../../operations/field-schemas.ts';
import * as out from './output.ts';

export const attachmentStates = Object.keys(attachmentTransitions) as AttachmentState[];
const hostSides: readonly HostSide[] = ['none', 'claimed', 'attached', 'gone'];
const reportedHostSides = ['claimed', 'attached', 'gone', 'formatted'] as const;

const path = out.object<Path>('One way from the host to the volume.', {
  initiatorWwpn: out.wwpn('Port of the host.'),
  targetWwpn: out.wwpn('Port of the storage node, after redirection.'),
  lun: out.integer('Logical unit number on this path.', 1),
});

export const attachmentSchema = out.named<Attachment>(
  'Attachment',
  out.object<Attachment>('A volume shown to a host over one or more paths.', {
    id: out.text('Id of the attachment.', 'att_01JD0000000000000000000000'),
    volumeId: out.text('Id of the volume.', 'vol_01JD0000000000000000000000'),
    volume: out.textOrNull('Name of the volume.', 'data'),
    host: out.text('Host that sees the volume.', 'node1'),
    storageNode: out.text('Storage node that shows it.', 'local'),
    accessMode: out.oneOf(accessModes, 'One writing host, or many reading ones.'),
    namespace: out.textOrNull('Container whose flow policies decided the paths.', 'c0ffee12', null),
    state: out.oneOf(attachmentStates, 'State of the attachment.'),
    hostSide: out.oneOf(hostSides, 'What the host has said about its side.'),
    epoch: out.integer('Rises at every new attachment of the volume; a host acts under its epoch.', 1),
    generation: out.integer('Generation of the volume at which it was exported.', 4),
    mediaGeneration: out.integer('Generation of the medium that the device must be.', 1),
    paths: out.listOf(path, 'The paths to scan, and no others.'),
    wwid: out.text('World-wide id that the device must show.', 'naa.60014050123456789abcdef01234567'),
    serial: out.text('Serial number that the device must show.', '0123456789abcdef0123456789abcdef'),
    sizeBytes: out.integer('Size of the device in bytes.', 1073741824),
    filesystem: out.oneOf(filesystemTypes, 'Filesystem of the volume.'),
    formatted: out.flag('False: the host formats before it mounts. True: nobody ever formats.'),
    createdAt: out.instant('When it was asked for'),
  }),
);
export const attachmentPageSchema = out.pageOf(attachmentSchema);

export const hostStateBody = Type.Object(
  {
    epoch: field.integer(
      { minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
      { description: 'Epoch of the attachment that is spoken of.', examples: [1] },
    ),
    state: field.oneOf(reportedHostSides, {
      description:
        '`claimed`: about to make the device; `attached`: made and proved; `gone`: proved to be gone; `formatted`: a filesystem is complete and durable on it.',
    }),
    bootId: field.text({ description: 'Boot id of the host.', examples: ['0f5e2a60-8b7b-4c39-9b6e-1f7b8a3f1c55'] }),
    host: field.maybeReference({
      description: 'Host that speaks; absent: the host of the token or of the attachment.',
    }),
    proof: Type.Optional(
      Type.Unsafe<Record<string, unknown> | null>({
        type: ['object', 'null'],
        maxProperties: 32,
        description: 'How it was proved; kept with the attachment.',
        examples: [{ method: 'loop-status', device: '/dev/loop3' }],
      }),
    ),
  },
  { additionalProperties: false },
);
export type HostStateBody = Static<typeof hostStateBody>;
