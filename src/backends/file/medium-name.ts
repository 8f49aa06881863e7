/**
 * How a medium is spelled in the volumes directory: `<volumeId>.<mediaGeneration>.img`.
 *
 * The name carries the identity that hosts prove, so it is written and read here alone. While a medium is being made it
 * has a temporary name that no reader takes for a medium.
 */
import { Failure } from '../../domain/errors.ts';

export interface MediumName {
  readonly volumeId: string;
  readonly mediaGeneration: number;
}

const idPattern = /^[A-Za-z0-9_-]{1,128}$/;
const mediumPattern = /^([A-Za-z0-9_-]{1,128})\.(\d{1,16})\.img$/;
const temporaryPattern = /^\.new-([A-Za-z0-9_-]{1,128})\.(\d{1,16})\.img$/;

export function mediumFileName({ volumeId, mediaGeneration }: MediumName): string {
  return `${volumeId}.${mediaGeneration}.img`;
}

export function temporaryFileName(medium: MediumName): string {
  return `.new-${mediumFileName(medium)}`;
}

export function parseMediumFileName(fileName: string): MediumName | null {
  return parse(mediumPattern, fileName);
}

export function parseTemporaryFileName(fileName: string): MediumName | null {
  return parse(temporaryPattern, fileName);
}

/** What comes from outside becomes part of a path: `invalid-request` when it is not an id or a generation. */
export function checkMediumName({ volumeId, mediaGeneration }: MediumName): void {
  checkVolumeId(volumeId);
  if (!Number.isSafeInteger(mediaGeneration) || mediaGeneration < 0) {
    throw new Failure('invalid-request', `${mediaGeneration} is not a media generation.`);
  }
}

export function checkVolumeId(volumeId: string): void {
  if (!idPattern.test(volumeId)) throw new Failure('invalid-request', `"${volumeId}" is not a volume id.`);
}

function parse(pattern: RegExp, fileName: string): MediumName | null {
  const [, volumeId, generation] = pattern.exec(fileName) ?? [];
  if (volumeId === undefined || generation === undefined) return null;
  return { volumeId, mediaGeneration: Number(generation) };
}
