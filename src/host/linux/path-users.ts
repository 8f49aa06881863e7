// Who keeps a mount of our namespace from being unmounted, for people: umount(2) only says that it is busy.
// A scan of /proc; asked for after a refusal alone. What only a mapping holds, and who may not be looked into, it misses.

import { readdirSync, readlinkSync } from 'node:fs';
import { describeProcess, ifAlive, ownMounts, processIds } from './mount-table.ts';

const most = 5;

/** e.g. `process 4711 (bash)`, `a mount at /mnt/data/sub`; empty where nobody can be named. */
export function usersOf(root: string, path: string): string[] {
  const below = ownMounts(root).filter(({ mountPoint }) => mountPoint.startsWith(`${path}/`));
  const own = readlinkSync(`${root}/proc/self/ns/mnt`);
  const users = processIds(root).filter((pid) => ifAlive(() => worksIn(`${root}/proc/${pid}`, own, path)) === true);
  return [
    ...below.map(({ mountPoint }) => `a mount at ${mountPoint}`),
    ...users.slice(0, most).map((pid) => describeProcess(root, pid)),
    ...(users.length > most ? [`${users.length - most} more`] : []),
  ];
}

/** In another namespace the same path is another place. */
function worksIn(directory: string, namespace: string, path: string): boolean {
  if (readlinkSync(`${directory}/ns/mnt`) !== namespace) return false;
  const links = ['cwd', 'root', 'exe', ...readdirSync(`${directory}/fd`).map((name) => `fd/${name}`)];
  return links.some((link) => ifAlive(() => isWithin(readlinkSync(`${directory}/${link}`), path)) === true);
}

function isWithin(place: string, path: string): boolean {
  return place === path || place.startsWith(`${path}/`);
}
