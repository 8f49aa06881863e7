/** The local API's requests and answers; an optional field may be null, which means the same as absent. */
import { type Static, type TOptional, type TUnsafe, Type } from 'typebox';
import { limits } from '../config/limits.ts';
import type { MountRecord } from './mount-journal.ts';
import type { MountRequest } from './mounts.ts';

type Maybe<T> = TOptional<TUnsafe<T | null>>;

function maybe<T>(type: string | readonly string[], rules: object): Maybe<T> {
  return Type.Optional(
    Type.Unsafe<T | null>({ type: [...(typeof type === 'string' ? [type] : type), 'null'], ...rules }),
  );
}

const idMax = 2 ** 32 - 2;
const modeMax = 0o7777;

export const mountBody = Type.Object(
  {
    volume: Type.String({ minLength: 1, maxLength: limits.nameLength, description: 'Name or id of the volume.' }),
    path: maybe<string>('string', {
      minLength: 1,
      maxLength: limits.mountPathLength,
      description: "Where it is shown; absent: below the agent's own directory, by the volume's name.",
      examples: ['/mnt/data'],
    }),
    readOnly: maybe<boolean>('boolean', { description: 'Attach and mount for reading only.' }),
    uid: maybe<number>('integer', { minimum: 0, maximum: idMax, description: 'Owner of the data directory.' }),
    gid: maybe<number>('integer', { minimum: 0, maximum: idMax, description: 'Group of the data directory.' }),
    mode: maybe<number | string>(['integer', 'string'], {
      minimum: 0,
      maximum: modeMax,
      pattern: '^0?[0-7]{3,4}$',
      description: 'Mode of the data directory: octal digits as a text, or the number itself.',
      examples: ['0750'],
    }),
    namespace: maybe<string>('string', {
      minLength: 1,
      maxLength: limits.namespaceLength,
      pattern: '^[A-Za-z0-9][A-Za-z0-9._:/@-]*$',
      description: 'The container that it is for.',
    }),
  },
  { additionalProperties: false },
);
export type MountBody = Static<typeof mountBody>;

export const mountParams = Type.Object(
  { id: Type.String({ minLength: 1, maxLength: limits.nameLength, description: 'Id of the mount.' }) },
  { additionalProperties: false },
);

export const unmountQuery = Type.Object(
  {
    force: Type.Optional(
      Type.Boolean({ description: 'Also where container engines have users on record, if no process has the volume.' }),
    ),
  },
  { additionalProperties: false },
);

export function requestOf(body: MountBody): MountRequest {
  const { volume, path, readOnly, uid, gid, mode, namespace } = body;
  return {
    volume,
    path: path ?? undefined,
    readOnly: readOnly ?? undefined,
    uid: uid ?? undefined,
    gid: gid ?? undefined,
    mode: typeof mode === 'string' ? Number.parseInt(mode, 8) : (mode ?? undefined),
    namespace: namespace ?? undefined,
  };
}

/** A mount as the local API shows it. */
export interface MountView {
  readonly id: string;
  readonly volume: string;
  readonly volumeId: string;
  readonly path: string;
  readonly device: string | null;
  /** Id of the attachment. */
  readonly attachment: string | null;
  readonly readOnly: boolean;
  readonly namespace: string | null;
  /** Container engines' names for those who need it; null: a person's mount. */
  readonly references: readonly string[] | null;
  readonly state: MountRecord['state'];
  readonly heldBy: string | null;
  readonly createdAt: number;
}

export function viewOf(record: MountRecord): MountView {
  const { id, volume, volumeId, path, device, held, readOnly, namespace, state, heldBy, createdAt } = record;
  const [attachment, references] = [held?.target.attachmentId ?? null, record.references ?? null];
  const on = { device, attachment, readOnly, namespace, references };
  return { id, volume, volumeId, path, ...on, state, heldBy, createdAt };
}
