/**
 * Sizes in bytes: parsed once at the edge from what people and orchestrators write, shown again for people.
 *
 * Inside, a size is an integer number of bytes that a double holds exactly. A size that was rounded down would make a
 * volume smaller than what was asked for, so fractions of a byte are rounded up.
 */
import { limits } from '../config/limits.ts';
import { Failure } from './errors.ts';
import type { FilesystemType } from './volume.ts';

export interface ByteBounds {
  readonly minimumBytes: number;
  readonly maximumBytes: number;
}

const anySize: ByteBounds = { minimumBytes: 1, maximumBytes: Number.MAX_SAFE_INTEGER };
const volumeSize: ByteBounds = { minimumBytes: limits.volumeBytesMin, maximumBytes: limits.volumeBytesMax };

const accepted =
  'an integer of bytes, or a number with B, kB, MB, GB, TB, PB (powers of 1000) or K, KiB, M, MiB, G, GiB ... (powers of 1024)';
const pattern = /^(\d{1,16})(?:\.(\d{1,9}))?\s?([kmgtp]?)(ib?|b?)$/i;
const exponents: Readonly<Record<string, number>> = { '': 0, k: 1, m: 2, g: 3, t: 4, p: 5 };
const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/**
 * Bytes from a number, plain digits (bytes), or a number with a unit, whatever its case:
 * `10GB` is decimal (10 * 1000^3); `10GiB` and `10Gi` are binary (10 * 1024^3); and so is the bare letter, `10G` or
 * `10g`, because that is what `docker run --memory 1g`, `docker volume create --opt size=1G`, lvm and qemu mean by it.
 * (A Kubernetes quantity `10G` is decimal, but a CSI driver is handed bytes.) Throws `invalid-size`.
 */
export function parseByteCount(value: unknown, field = 'sizeBytes', bounds: ByteBounds = anySize): number {
  const bytes = typeof value === 'number' ? value : typeof value === 'string' ? bytesOfText(value) : Number.NaN;
  if (!Number.isSafeInteger(bytes)) throw invalid(field, value, `accepted: ${accepted}`);
  if (bytes < bounds.minimumBytes) throw invalid(field, value, `at least ${exactly(bounds.minimumBytes)}`);
  if (bytes > bounds.maximumBytes) throw invalid(field, value, `at most ${exactly(bounds.maximumBytes)}`);
  return bytes;
}

/** A size that a volume can have, rounded up to one. Throws `invalid-size`. */
export function parseVolumeSize(value: unknown, field = 'sizeBytes'): number {
  return wholeSectors(parseByteCount(value, field, volumeSize));
}

/** Up to the next size that a block device has: one that is not shown whole would be smaller than what was asked for. */
export function wholeSectors(bytes: number): number {
  return Math.ceil(bytes / limits.sectorBytes) * limits.sectorBytes;
}

export function leastBytesOf(filesystem: FilesystemType): number {
  return filesystem === 'xfs' ? limits.xfsBytesMin : limits.volumeBytesMin;
}

/** A size that a volume of the filesystem can have. Throws `invalid-size`. */
export function parseFormattedSize(value: unknown, field: string, filesystem: FilesystemType): number {
  const minimumBytes = leastBytesOf(filesystem);
  const bytes = parseVolumeSize(value, field);
  if (bytes < minimumBytes) throw invalid(field, value, `with ${filesystem} at least ${exactly(minimumBytes)}`);
  return bytes;
}

/** For people: the largest binary unit, at most two decimals, e.g. `10GiB`, `1.5GiB`, `931.32GiB`. */
export function formatByteCount(bytes: number): string {
  let unit = 0;
  let amount = bytes;
  while (Math.abs(amount) >= 1024 && unit < units.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${Number(amount.toFixed(2))}${units[unit]}`;
}

function bytesOfText(text: string): number {
  const match = pattern.exec(text.trim());
  if (match === null) return Number.NaN;
  const [, whole = '', fraction = '', letter = '', suffix = ''] = match;
  if (letter === '' && suffix.toLowerCase().startsWith('i')) return Number.NaN;
  const base = suffix.toLowerCase() === 'b' ? 1000n : 1024n;
  const unit = base ** BigInt(exponents[letter.toLowerCase()] ?? 0);
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * unit;
  return Number((scaled + scale - 1n) / scale);
}

/** For people who have to compare: rounded, and to the byte. */
export function exactly(bytes: number): string {
  return `${formatByteCount(bytes)} (${bytes} bytes)`;
}

function invalid(field: string, value: unknown, why: string): Failure {
  const shown = typeof value === 'string' ? JSON.stringify(value.slice(0, 64)) : String(value).slice(0, 64);
  return new Failure('invalid-size', `${field}: ${shown} is not a size that can be used; ${why}.`, { field });
}
