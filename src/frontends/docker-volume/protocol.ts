/**
 * The volume plugin protocol as engines really speak it: dockerd sends neither Content-Type nor a Host, Activate has no
 * body at all, `Opts` is null or absent, `ID` is missing with DVDI. So nothing here depends on headers.
 *
 * Every failure is status 500: podman takes a 200 with `Err` for success.
 */

import { awayCodes } from '../../agent/controller-link.ts';
import { type ErrorKind, errorCatalogue, Failure, type Problem } from '../../domain/errors.ts';
import { remedyOf } from './remedies.ts';

export const mediaType = 'application/vnd.docker.plugins.v1.1+json';
export const failureStatus = 500;

export interface PluginRequest {
  readonly name: string;
  readonly options: Readonly<Record<string, string>> | null;
  /** Whose mount it is; one constant for clients that do not say. */
  readonly reference: string;
}

const unstatedReference = 'unstated';

/** Throws `malformed-body` or `invalid-request`. */
export function parseRequest(body: string): PluginRequest {
  const fields = new Map(Object.entries(parseObject(body)));
  const reference = textOf(fields, 'ID');
  return {
    name: textOf(fields, 'Name'),
    options: optionsOf(fields.get('Opts')),
    reference: reference === '' ? unstatedReference : reference,
  };
}

function parseObject(body: string): object {
  if (body.trim() === '') return {};
  try {
    const parsed: unknown = JSON.parse(body);
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return parsed;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new Failure('malformed-body', 'The body must be a JSON object, or empty.');
}

function textOf(fields: ReadonlyMap<string, unknown>, field: string): string {
  const value = fields.get(field) ?? '';
  if (typeof value === 'string' && value.length <= 1_024) return value;
  throw new Failure('invalid-request', `${field}: a string of at most 1024 characters is accepted.`, { field });
}

function optionsOf(value: unknown): PluginRequest['options'] {
  if (value === undefined || value === null) return null;
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new Failure('invalid-request', 'Opts: an object of strings is accepted.', { field: 'Opts' });
  }
  return Object.fromEntries(Object.entries(value).map(([name, text]) => [name, optionText(name, text)]));
}

function optionText(name: string, value: unknown): string {
  if (typeof value !== 'object') return String(value);
  throw new Failure('invalid-request', `Opts.${name}: a string is accepted.`, { field: `Opts.${name}` });
}

type Wording = (told: Problem) => string;
const plain: Wording = ({ detail }) => detail;
const away = 'What is mounted on this host goes on (fcr agent status shows whether the controller answers); try again.';

/** How each kind of problem is told to an engine's user: the text behind `Error response from daemon`. */
const wordings: Readonly<Record<ErrorKind, Wording>> = {
  invalid: plain,
  'unsupported-media': plain,
  unauthenticated: ({ detail }) => `The host's token is not accepted by the controller: ${detail}`,
  forbidden: ({ detail }) => `The plugin's token does not suffice at the controller: ${detail}`,
  'not-found': plain,
  conflict: plain,
  'precondition-failed': plain,
  'precondition-required': plain,
  unprocessable: plain,
  'too-large': plain,
  exhausted: plain,
  overloaded: ({ detail }) => `${detail} Try again.`,
  unavailable: plain,
  internal: plain,
};

/** What is wrong, and what can be done about it. */
export function errorText(told: Problem): string {
  const remedy = awayCodes.has(told.code) ? away : remedyOf(told);
  return `${wordings[errorCatalogue[told.code].kind](told)} ${remedy}`.trimEnd();
}

/**
 * What stands in for an answer where a volume may be there and cannot be looked up. dockerd takes every error of Get for
 * "no such volume" (it would forget the volume and start the container on an empty local one), except when the exchange
 * itself fails. No space in it: Go's client then quotes the whole line in its error, so that people read why.
 */
export function unanswered(told: Problem): string {
  return `FC-Redirect:${errorText(told).replaceAll(/\s+/g, '_').slice(0, 400)}\r\n\r\n`;
}

export function saysAbsent(told: Problem): boolean {
  return errorCatalogue[told.code].kind === 'not-found';
}
