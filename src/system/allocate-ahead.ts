import { allocateAhead as allocate } from '../../native-bindings/file.ts';
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
    const code = systemCodeOf(error);
    if (code === 'EOPNOTSUPP') return true;
    if (code === 'ENOSPC' || code === 'EDQUOT') return false;
    throw error;
  }
}
