/** How a route documents its answers; problems are added to every route at its registration. */
import { type TUnsafe, Type } from 'typebox';
import { type NamedSchema, refer } from './output.ts';

export function answer<T>(schema: NamedSchema<T>, description = 'Done.'): TUnsafe<T> {
  return Type.Unsafe<T>({ ...refer(schema), description });
}

export function noContent(description: string): TUnsafe<undefined> {
  return Type.Unsafe<undefined>({ type: 'null', description });
}
