import { allocateAhead as allocate } from '../../native-bindings/file.ts';
import { isDiskFull } from './full-disk.ts';
import { systemCodeOf } from './system-call-error.ts';

/**
 * Gives the file blocks for its first bytes, also beyond its end, which stays where it is. Answers false where there is no
 * space for them. On a filesystem that cannot do it nothing is done, and there is nothing to try again.
 */
export function allocateAhead(fd: number, lengthBytes: number): boolean {
  try {
    allocate(fd, lengthBytes);
    return true;
  } catch (error) {
    if (systemCodeOf(error) === 'EOPNOTSUPP') return true;
    if (isDiskFull(error)) return false;
    throw error;
  }
}
