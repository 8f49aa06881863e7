// How a medium of the local fabric is named: the exporter's links, the backing file and the loop device's own mark.
// The file's name carries volume id and generation, so that a stale file can never pass for a newer one.

import { basename, join } from 'node:path';
import type { Path } from '../domain/attachment.ts';

export interface Medium {
  readonly volumeId: string;
  readonly mediaGeneration: number;
}

const filePattern = /^([A-Za-z0-9_-]{1,128})\.(\d{1,16})\.img$/;
/** What sysfs and /proc append to the name of an unlinked file. */
const deletedSuffix = ' (deleted)';

/** The exporter's link of one path, in normal form with colons. */
export function linkOf(exportsDirectory: string, path: Path): string {
  return join(exportsDirectory, path.targetWwpn, path.initiatorWwpn, String(path.lun));
}

export function fileNameOf(medium: Medium): string {
  return `${medium.volumeId}.${medium.mediaGeneration}.img`;
}

/** Written into the loop device (63 bytes at most) when it is made. */
export function markOf(medium: Medium): string {
  return `fcr:${medium.volumeId}.${medium.mediaGeneration}`;
}

/** Null when the file is no medium of ours. */
export function mediumOf(filePath: string): Medium | null {
  const match = filePattern.exec(basename(filePath));
  if (match?.[1] === undefined || match[2] === undefined) return null;
  return { volumeId: match[1], mediaGeneration: Number(match[2]) };
}

export interface BackingFile {
  readonly path: string;
  readonly deleted: boolean;
}

/** Of `/sys/block/loopN/loop/backing_file`. */
export function parseBackingFile(text: string): BackingFile {
  const path = text.endsWith('\n') ? text.slice(0, -1) : text;
  const deleted = path.endsWith(deletedSuffix);
  return { path: deleted ? path.slice(0, -deletedSuffix.length) : path, deleted };
}

export function sameMedium(a: Medium, b: Medium): boolean {
  return a.volumeId === b.volumeId && a.mediaGeneration === b.mediaGeneration;
}
