/** Words of a command line become values here, by the same rules as everywhere in the product. */
import { Option } from 'commander';
import { parseByteCount, parseVolumeSize } from '../../domain/byte-count.ts';
import { Failure } from '../../domain/errors.ts';
import { parseWwpn } from '../../domain/wwpn.ts';

export function volumeSize(text: string): number {
  return parseVolumeSize(text, 'size');
}

export function bandwidth(text: string): number {
  return parseByteCount(text, 'bandwidth');
}

export function wwpn(text: string): string {
  return parseWwpn(text);
}

export function wholeNumber(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new Failure('invalid-request', `${JSON.stringify(text)} is refused; a whole number is accepted.`);
}

/** `none` takes a limit away. (Commander would make an empty text of a null.) */
export function wholeNumberOrNone(text: string): number | 'none' {
  return text === 'none' ? text : wholeNumber(text);
}

export function bandwidthOrNone(text: string): number | 'none' {
  return text === 'none' ? text : bandwidth(text);
}

export function nullIfNone<T>(value: T | 'none'): T | null {
  return value === 'none' ? null : value;
}

const durationUnits: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** Seconds, from `90s`, `5m`, `12h`, `30d`. */
export function durationSeconds(text: string): number {
  const match = /^(\d{1,9})([smhd])$/.exec(text);
  if (match !== null) return Number(match[1]) * (durationUnits[match[2] ?? ''] ?? 0);
  throw new Failure('invalid-request', `${JSON.stringify(text)} is refused; accepted: e.g. 90s, 5m, 12h, 30d.`);
}

/** `--label a=b --label c`: collected; a label without a value has an empty one. */
export function label(text: string, others: Readonly<Record<string, string>> = {}): Readonly<Record<string, string>> {
  const [key = '', ...rest] = text.split('=');
  return { ...others, [key]: rest.join('=') };
}

/** An option with a closed set of words. */
export function choice(flags: string, about: string, words: readonly string[]): Option {
  return new Option(flags, about).choices(words);
}

/** Leaves out what was not stated, so that the request does not state it either. */
export function stated<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const present = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(present) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
