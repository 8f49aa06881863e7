/**
 * Many links at once, as plain functions for a blocking thread: one crossing for all exports of a moment.
 *
 * A link is `<root>/<targetWwpn>/<initiatorWwpn>/<lun>` -> absolute path of the medium. Nothing here is fsynced: the log
 * of exports is the durable record, and the links are made to agree with it at start.
 */
import { mkdirSync, readdirSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { systemCodeOf } from '../../system/system-call-error.ts';

export interface LinkChange {
  /** `<targetWwpn>/<initiatorWwpn>/<lun>` */
  readonly name: string;
  /** Null removes the link. */
  readonly location: string | null;
  /** A link to another place may be replaced: it is known to be an outdated one of the same attachment. */
  readonly mayReplace: boolean;
}

export interface LinkFound {
  readonly name: string;
  readonly location: string;
}

/** For each change null, or what stood in its way. One that fails does not stop the others. */
export function changeLinks(root: string, changes: readonly LinkChange[]): (string | null)[] {
  return changes.map((change) => changeLink(root, change));
}

/** Every link there is. Unreadable throws; what is no link is not ours and left out. */
export function listLinks(root: string): LinkFound[] {
  const found: LinkFound[] = [];
  for (const target of directoriesIn(root)) {
    for (const initiator of directoriesIn(join(root, target))) {
      const directory = join(root, target, initiator);
      for (const entry of readdirSync(directory, { withFileTypes: true })) {
        if (!entry.isSymbolicLink()) continue;
        const location = readLocation(join(directory, entry.name));
        if (location !== null) found.push({ name: `${target}/${initiator}/${entry.name}`, location });
      }
    }
  }
  return found;
}

function directoriesIn(path: string): string[] {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}

function changeLink(root: string, change: LinkChange): string | null {
  const path = join(root, change.name);
  try {
    if (change.location === null) removeLink(path);
    else return makeLink(path, change.location, change.mayReplace);
    return null;
  } catch (error) {
    if (systemCodeOf(error) === null) throw error;
    return error instanceof Error ? error.message : String(error);
  }
}

function makeLink(path: string, location: string, mayReplace: boolean): string | null {
  if (tryLink(path, location)) return null;
  const present = readLocation(path);
  if (present === location) return null;
  if (!mayReplace && present !== null) return `${path} leads to ${present} already`;
  removeLink(path);
  return tryLink(path, location) ? null : `${path} was made by somebody else`;
}

function tryLink(path: string, location: string): boolean {
  try {
    symlinkSync(location, path);
    return true;
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'EEXIST') return false;
    if (code !== 'ENOENT') throw error;
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  return tryLink(path, location);
}

function removeLink(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw error;
  }
}

function readLocation(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return null;
    throw error;
  }
}
