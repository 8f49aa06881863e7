import type { VolumeState } from '../../domain/volume.ts';
import {
  filesystemTypes,
  type Volume,
  type VolumeAttachment,
  type VolumeWipeProof,
  volumeTransitions,
} from '../../domain/volume.ts';
import * as out from './output.ts';

export const volumeStates = Object.keys(volumeTransitions) as VolumeState[];

const wipeProof = out.objectOrNull<VolumeWipeProof>(
  'How it was shown that nothing of a former owner is left; null when the medium never had one.',
  {
    generation: out.integer('Generation of the medium that it is about.', 3),
    method: out.text('How the bytes were taken away.', 'punch-hole'),
    verifiedBytes: out.integer('Bytes that were read back, uncached.', 1048576),
    at: out.instantOrNull('When the proof was committed'),
  },
);

const attachment = out.object<VolumeAttachment>('One attachment of the volume.', {
  id: out.text('Id of the attachment.', 'att_01JD0000000000000000000000'),
  host: out.text('Host that sees the volume.', 'node1'),
  state: out.text('State of the attachment.', 'attached'),
});

export const volumeSchema = out.named<Volume>(
  'Volume',
  out.object<Volume>('A volume: bytes on a storage node, owned by one name at a time.', {
    id: out.text('Id, for ever this volume.', 'vol_01JD0000000000000000000000'),
    name: out.textOrNull('Name given by its owner; null while nobody owns it.', 'data'),
    pool: out.textOrNull('Pool that it belongs to; null when made on demand without one.', 'fast'),
    storageNode: out.text('Storage node that holds its bytes.', 'local'),
    backend: out.text('Backend that keeps its bytes.', 'file'),
    sizeBytes: out.integer('Actual size in bytes.', 1073741824),
    state: out.oneOf(volumeStates, 'State of the volume. `failed` is quarantined, with the reason.'),
    generation: out.integer('Rises with each allocation and each round of effects.', 3),
    mediaGeneration: out.integer('Generation at which the present medium was made; new for every owner.', 1),
    serial: out.text('Unit serial number (VPD page 0x80); new for every owner.', '0123456789abcdef0123456789abcdef'),
    wwid: out.text('World-wide id (VPD page 0x83, NAA 6); new for every owner.', 'naa.60014050123456789abcdef01234567'),
    filesystem: out.oneOf(filesystemTypes, 'Filesystem that it has, or gets at its first mount.'),
    formatted: out.flag('Whether the filesystem is complete on the medium.'),
    qosPolicy: out.textOrNull('QoS policy of the volume.', 'gold', null),
    labels: out.labels('Labels given at creation.'),
    epoch: out.integer('Number of attachments so far.', 1),
    failureReason: out.textOrNull(
      'Why it is quarantined, or why it could not be wiped or destroyed yet; without `admin` or `operator` the code and its title.',
      null,
    ),
    createdAt: out.instant('When the volume was provisioned'),
    allocatedAt: out.instantOrNull('When its present owner got it'),
    attachments: out.listOf(attachment, 'Attachments that are not released.'),
    wipeProof,
  }),
);
export const volumePageSchema = out.pageOf(volumeSchema);
