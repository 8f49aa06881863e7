import { type Static, Type } from 'typebox';
import { limits } from '../../config/limits.ts';
import { roles, type Token } from '../../domain/principal.ts';
import * as field from '../../operations/field-schemas.ts';
import * as out from './output.ts';

const fields = {
  id: out.text('Id of the token.', 'tok_01JD0000000000000000000000'),
  name: out.text('What it is for.', 'ci'),
  role: out.oneOf(roles, 'What it may do.'),
  host: out.textOrNull('The only host that it may act for, with the role `host`.', null),
  createdAt: out.instant('When it was made'),
  expiresAt: out.instantOrNull('When it stops working'),
};

export const tokenSchema = out.named<Token>('Token', out.object<Token>('A bearer token, without its secret.', fields));
export const tokenPageSchema = out.pageOf(tokenSchema);

export interface CreatedToken extends Token {
  readonly secret: string | null;
}

export const createdTokenSchema = out.named<CreatedToken>(
  'CreatedToken',
  out.object<CreatedToken>('A new bearer token, with its secret.', {
    ...fields,
    secret: out.textOrNull(
      'The secret, shown this once: only its hash is kept. Null when a request is replayed by its Idempotency-Key.',
      'fcr_Zm9ydHktdHdvIGZvcnR5LXR3byBmb3J0eS10d28gNDI',
    ),
  }),
);

export const newTokenBody = Type.Object(
  {
    name: field.name({ description: 'What it is for.', examples: ['ci'] }),
    role: field.oneOf(roles, { description: 'What it may do.', examples: ['operator'] }),
    host: field.maybeReference({
      description: 'The only host that it may act for; with the role `host`, and only then.',
    }),
    expiresInSeconds: field.maybeInteger(
      { minimum: 1, maximum: limits.tokenLifetimeSecondsMax },
      { description: 'Seconds until it stops working; absent: never.', examples: [86400] },
    ),
  },
  { additionalProperties: false },
);
export type NewTokenBody = Static<typeof newTokenBody>;
