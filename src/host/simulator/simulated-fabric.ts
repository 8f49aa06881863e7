// What a path of the simulated host leads to. With an exporter's links the host proves identity against them, as the
// real one does; without any it believes the target.

import { readlink } from 'node:fs/promises';
import type { Path } from '../../domain/attachment.ts';
import { systemCodeOf } from '../../system/system-call-error.ts';
import { linkOf, type Medium, mediumOf } from '../local-medium.ts';

/** `absent`: nothing is exported there. */
export type SimulatedFabric = (path: Path, expected: Medium) => Promise<Medium | 'absent'>;

export const believingFabric: SimulatedFabric = async (_path, expected) => expected;

/** The local exporter's links, `<directory>/<target WWPN>/<initiator WWPN>/<LUN>`. */
export function linkedFabric(exportsDirectory: string): SimulatedFabric {
  return async (path) => {
    try {
      return mediumOf(await readlink(linkOf(exportsDirectory, path))) ?? 'absent';
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return 'absent';
      throw error;
    }
  };
}
