/**
 * Patterns that name their owner, written by users and looked for on whole media, past the page cache.
 *
 * Every 512 bytes of a written file begin with a tag, so that a single sector that survived a wipe gives its owner away,
 * and a single sector that was lost is missed.
 */
import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { dropCache } from '../../native-bindings/file.ts';

const sectorBytes = 512;
const marker = 'FCR-OWNER|';
const readBytes = 4 * 1024 * 1024;

export interface Written {
  readonly file: string;
  readonly nonce: string;
  readonly sectors: number;
}

/** Durable when it returns. */
export function writePattern(path: string, owner: string, { nonce, sectors }: Written): void {
  const descriptor = openSync(path, 'wx', 0o600);
  try {
    writeSync(descriptor, patternOf(owner, nonce, sectors));
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  const directory = openSync(path.slice(0, path.lastIndexOf('/')), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

export function patternOf(owner: string, nonce: string, sectors: number): Buffer {
  const pattern = Buffer.alloc(sectors * sectorBytes, '.');
  for (let index = 0; index < sectors; index += 1) {
    pattern.write(`${marker}${owner}|${nonce}|${index}|`, index * sectorBytes, 'latin1');
  }
  return pattern;
}

/** By owner and nonce: which sectors of the pattern are on the medium. */
export type Patterns = ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<number>>>;

/** Reads the whole medium, without what the page cache holds of it. */
export function patternsOn(path: string): Patterns {
  const found = new Map<string, Map<string, Set<number>>>();
  const descriptor = openSync(path, 'r');
  try {
    dropCache(descriptor);
    const { size } = fstatSync(descriptor);
    const buffer = Buffer.alloc(readBytes);
    for (let offset = 0; offset < size; ) {
      const length = readSync(descriptor, buffer, 0, readBytes, offset);
      if (length === 0) break;
      collect(buffer.subarray(0, length), found);
      offset += length;
    }
  } finally {
    closeSync(descriptor);
  }
  return found;
}

/** Tags begin at sectors, so none lies across two reads. */
function collect(bytes: Buffer, found: Map<string, Map<string, Set<number>>>): void {
  for (let at = bytes.indexOf(marker, 0, 'latin1'); at !== -1; at = bytes.indexOf(marker, at + 1, 'latin1')) {
    const [, owner = '', nonce = '', index = ''] = bytes.toString('latin1', at, at + 160).split('|');
    const byNonce = found.get(owner) ?? new Map<string, Set<number>>();
    found.set(owner, byNonce);
    const sectors = byNonce.get(nonce) ?? new Set<number>();
    byNonce.set(nonce, sectors);
    sectors.add(Number(index));
  }
}
