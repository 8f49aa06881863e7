/**
 * The options of `docker volume create -o`, and what must be remembered of them for every later mount.
 *
 * Owner, mode and `readonly` are kept as labels of the volume under a reserved prefix: the controller has them, so any
 * host mounts the volume the same way. Every refusal names the option, its value and what is accepted.
 */
import { limits } from '../../config/limits.ts';
import { nearest } from '../../config/nearest.ts';
import { formatByteCount, parseByteCount } from '../../domain/byte-count.ts';
import { Failure } from '../../domain/errors.ts';
import { parseLabels, parseName } from '../../domain/names.ts';
import { type FilesystemType, filesystemTypes, type Labels } from '../../domain/volume.ts';

/** What is asked of a new volume; an option that was not stated is absent. */
export interface VolumeWish {
  readonly sizeBytes?: number;
  readonly pool?: string;
  readonly qosPolicy?: string;
  readonly filesystem?: FilesystemType;
  readonly labels?: Labels;
}

/** How a volume is mounted, on whatever host. */
export interface MountManner {
  readonly readOnly: boolean;
  readonly uid?: number;
  readonly gid?: number;
  readonly mode?: number;
}

const reservedPrefix = 'fc-redirect/';
const labelPrefix = 'label.';
const engineMade = `${reservedPrefix}engine-made`;
const idMax = 2 ** 32 - 2;

interface Option {
  readonly accepted: string;
  readonly read: (value: string) => VolumeWish | null;
}

const options: Readonly<Record<string, Option>> = {
  size: {
    accepted: `a size such as 10GiB, 1GB or 512m, at most ${formatByteCount(limits.volumeBytesMax)}`,
    read: (value) => ({ sizeBytes: sizeOf(value) }),
  },
  pool: { accepted: 'the name of a pool', read: (value) => ({ pool: parseName(value) }) },
  qos: { accepted: 'the name of a QoS policy', read: (value) => ({ qosPolicy: parseName(value) }) },
  fs: { accepted: filesystemTypes.join(', '), read: filesystemOf },
  uid: { accepted: `a user id from 0 to ${idMax}`, read: (value) => remembered('uid', idOf(value)) },
  gid: { accepted: `a group id from 0 to ${idMax}`, read: (value) => remembered('gid', idOf(value)) },
  mode: { accepted: 'three or four octal digits such as 0750', read: (value) => remembered('mode', modeOf(value)) },
  readonly: { accepted: 'true, false', read: (value) => remembered('readonly', flagOf(value)) },
  from: { accepted: 'nothing yet: volumes cannot be cloned', read: () => null },
  labels: { accepted: 'key=value, several with commas between them', read: labelsOf },
};

export const optionNames: readonly string[] = [...Object.keys(options), `${labelPrefix}<key>`];

/** Null and absent are no options. Throws `invalid-request`. */
export function parseOptions(stated: Readonly<Record<string, string>> | null): VolumeWish {
  let wish: VolumeWish = {};
  let labels: Labels = {};
  for (const [name, value] of Object.entries(stated ?? {})) {
    const { labels: more = {}, ...rest } = readOption(name, value);
    const twice = Object.keys(more).find((key) => Object.hasOwn(labels, key) && labels[key] !== more[key]);
    if (twice !== undefined) throw refused(name, value, `each label once ("${twice}" is stated twice)`);
    wish = { ...wish, ...rest };
    labels = { ...labels, ...more };
  }
  refuseOwnerOfReadOnly(labels);
  return Object.keys(labels).length === 0 ? wish : { ...wish, labels: parseLabels(labels) };
}

/** Who has only ever read from it cannot give it to anybody. */
function refuseOwnerOfReadOnly(labels: Labels): void {
  if (labels[`${reservedPrefix}readonly`] !== 'true') return;
  const owner = (['uid', 'gid', 'mode'] as const).find((key) => labels[`${reservedPrefix}${key}`] !== undefined);
  if (owner !== undefined) throw refused('readonly', 'true', `false together with ${owner}, which it cannot change`);
}

/** From the labels that an earlier `parseOptions` made, or that somebody set over REST. Throws `invalid-request`. */
export function mannerOf(labels: Labels): MountManner {
  const number = (key: 'uid' | 'gid' | 'mode', base: number) => {
    const text = labels[`${reservedPrefix}${key}`];
    return text === undefined ? {} : { [key]: Number.parseInt(checkedLabel(key, text), base) };
  };
  const readOnly = labels[`${reservedPrefix}readonly`];
  return {
    readOnly: readOnly !== undefined && checkedLabel('readonly', readOnly) === 'true',
    ...number('uid', 10),
    ...number('gid', 10),
    ...number('mode', 8),
  };
}

/** Where an engine comes in: at podman's own socket, or at what all engines may use. */
export const entrances = ['engines', 'podman'] as const;
export type Entrance = (typeof entrances)[number];

const marks: Readonly<Record<Entrance, string>> = { engines: 'true', podman: 'podman' };

/** What engines that come in there may remove, where they remove their own alone. */
export function madeThrough(entrance: Entrance, wish: VolumeWish): VolumeWish {
  return { ...wish, labels: { ...wish.labels, [engineMade]: marks[entrance] } };
}

export function isMadeThrough(entrance: Entrance, labels: Labels): boolean {
  return labels[engineMade] === marks[entrance];
}

function readOption(name: string, value: string): VolumeWish {
  if (name.startsWith(labelPrefix)) return ownLabel(name, name.slice(labelPrefix.length), value);
  const option = Object.hasOwn(options, name) ? options[name] : undefined;
  if (option === undefined) throw unknownOption(name, value);
  const read = attempt(() => option.read(value));
  if (read === null) throw refused(name, value, option.accepted);
  return read;
}

/** Null where the value is not what the option takes. */
function attempt(read: () => VolumeWish | null): VolumeWish | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof Failure) return null;
    throw error;
  }
}

/** A volume is at least this large; asking for less gets the least that there is. */
function sizeOf(value: string): number {
  const bounds = { minimumBytes: 1, maximumBytes: limits.volumeBytesMax };
  return Math.max(limits.volumeBytesMin, parseByteCount(value, 'size', bounds));
}

function filesystemOf(value: string): VolumeWish | null {
  const filesystem = filesystemTypes.find((type) => type === value);
  return filesystem === undefined ? null : { filesystem };
}

function remembered(key: string, text: string | null): VolumeWish | null {
  return text === null ? null : { labels: { [`${reservedPrefix}${key}`]: text } };
}

function idOf(value: string): string | null {
  return /^\d{1,10}$/.test(value) && Number(value) <= idMax ? String(Number(value)) : null;
}

/** In one form, so that equal modes are equal labels. */
function modeOf(value: string): string | null {
  return /^0?[0-7]{3,4}$/.test(value) ? Number.parseInt(value, 8).toString(8).padStart(4, '0') : null;
}

function flagOf(value: string): string | null {
  return value === 'true' || value === 'false' ? value : null;
}

function checkedLabel(key: 'uid' | 'gid' | 'mode' | 'readonly', text: string): string {
  const read = { uid: idOf, gid: idOf, mode: modeOf, readonly: flagOf }[key](text);
  if (read !== null) return read;
  const accepted = options[key]?.accepted;
  throw new Failure('invalid-request', `label "${reservedPrefix}${key}": "${text}" is refused; accepted: ${accepted}.`);
}

function labelsOf(value: string): VolumeWish | null {
  const pairs = value.split(',').map((pair) => /^([^=]+)=(.*)$/s.exec(pair.trim()));
  if (pairs.some((pair) => pair === null)) return null;
  const labels = Object.fromEntries(pairs.flatMap((pair) => (pair === null ? [] : [[pair[1] ?? '', pair[2] ?? '']])));
  return Object.keys(labels).some(isReserved) ? null : { labels: parseLabels(labels) };
}

function ownLabel(name: string, key: string, value: string): VolumeWish {
  const wish = isReserved(key) ? null : attempt(() => ({ labels: parseLabels({ [key]: value }) }));
  if (wish === null) throw refused(name, value, `a label key outside ${reservedPrefix} and a text as its value`);
  return wish;
}

function isReserved(key: string): boolean {
  return key.startsWith(reservedPrefix);
}

function unknownOption(name: string, value: string): Failure {
  const meant = nearest(name, Object.keys(options));
  const hint = meant === null ? '' : `; did you mean ${meant}?`;
  return invalid(name, `option "${shown(name)}" (value "${shown(value)}") is unknown${hint}`);
}

export function refused(name: string, value: string, accepted: string): Failure {
  return invalid(name, `option "${shown(name)}": "${shown(value)}" is refused; accepted: ${accepted}`);
}

function invalid(name: string, why: string): Failure {
  const end = why.endsWith('?') ? '' : '.';
  return new Failure('invalid-request', `${why}${end} Options: ${optionNames.join(', ')}.`, { field: `Opts.${name}` });
}

function shown(text: string): string {
  return text.slice(0, 64);
}
