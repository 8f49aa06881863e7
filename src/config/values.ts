/**
 * How the text of one setting becomes a value. A parser answers the value, or a `Refusal` that says what is accepted;
 * who asked, and from which source, is the loader's to say.
 */
import { parseByteCount } from '../domain/byte-count.ts';
import { Failure } from '../domain/errors.ts';
import { parseName } from '../domain/names.ts';

export class Refusal {
  readonly accepted: string;

  constructor(accepted: string) {
    this.accepted = accepted;
  }
}

/** A value of a YAML file, or the text of a flag or of an environment variable. */
export type Parser<T> = (value: unknown) => T | Refusal;

export const text: Parser<string> = (value) =>
  typeof value === 'string' && value.trim() !== '' ? value : new Refusal('a text that is not empty');

export const absolutePath: Parser<string> = (value) =>
  typeof value === 'string' && value.startsWith('/') ? trimSlash(value) : new Refusal('an absolute path');

export const name: Parser<string> = (value) => failureAsRefusal(() => parseName(value));

export function oneOf<const T extends string>(...choices: readonly T[]): Parser<T> {
  return (value) => choices.find((choice) => choice === value) ?? new Refusal(choices.join(', '));
}

/** One of these words, or what the parser takes. */
export function oneOfOr<T, const W extends string>(parse: Parser<T>, ...words: readonly W[]): Parser<T | W> {
  return (value) => {
    const word = words.find((each) => each === value);
    if (word !== undefined) return word;
    const parsed = parse(value);
    return parsed instanceof Refusal ? new Refusal(`${words.join(', ')}, ${parsed.accepted}`) : parsed;
  };
}

export const flag: Parser<boolean> = (value) => {
  const word = String(value).toLowerCase();
  if (['true', 'yes', 'on', '1'].includes(word)) return true;
  return ['false', 'no', 'off', '0'].includes(word)
    ? false
    : new Refusal('true or false (also yes, no, on, off, 1, 0)');
};

export function integer(minimum: number, maximum: number): Parser<number> {
  return (value) => {
    const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
    const fits = typeof number === 'number' && Number.isInteger(number) && number >= minimum && number <= maximum;
    return fits ? number : new Refusal(`a whole number from ${minimum} to ${maximum}`);
  };
}

export function size(minimumBytes: number, maximumBytes: number): Parser<number> {
  return (value) => failureAsRefusal(() => parseByteCount(value, 'size', { minimumBytes, maximumBytes }));
}

const durationUnits: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds from `500ms`, `10s`, `5m`, `1h`, `7d`. A bare number is refused: its unit would be a guess. */
export function duration(minimumMs: number, maximumMs: number): Parser<number> {
  const accepted = `a duration with its unit, e.g. 500ms, 10s, 5m, 1h, 7d, from ${minimumMs} ms to ${maximumMs} ms`;
  return (value) => {
    const match = /^(\d{1,9}) ?(ms|s|m|h|d)$/.exec(String(value).trim());
    const ms = match === null ? -1 : Number(match[1]) * (durationUnits[match[2] ?? ''] ?? 0);
    return ms >= minimumMs && ms <= maximumMs ? ms : new Refusal(accepted);
  };
}

export interface ListenAddress {
  readonly host: string;
  /** 0: the kernel chooses one. */
  readonly port: number;
}

export const listenAddress: Parser<ListenAddress> = (value) => {
  const accepted = new Refusal('an address and a port, e.g. 127.0.0.1:8080, [::1]:8080, 0.0.0.0:8080');
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s[\]]+)):(\d{1,5})$/.exec(String(value));
  const port = Number(match?.[3]);
  return match === null || port > 65_535 ? accepted : { host: match[1] ?? match[2] ?? '', port };
};

/** A literal address of this machine alone, or `localhost`: no name that somebody else's server may answer for. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);
}

export function url(...protocols: readonly string[]): Parser<string> {
  const accepted = `a URL that begins with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`;
  return (value) => {
    const parsed = typeof value === 'string' && URL.canParse(value) ? new URL(value) : null;
    return parsed !== null && protocols.includes(parsed.protocol) ? String(value) : new Refusal(accepted);
  };
}

/** Where a controller answers: a URL, or the path of its unix socket (also as `unix:<path>`). */
export const serverAddress: Parser<string> = (value) => {
  const socket = typeof value === 'string' ? value.replace(/^unix:(?:\/\/)?(?=\/)/, '') : value;
  if (typeof socket === 'string' && socket.startsWith('/')) return trimSlash(socket);
  const parsed = url('http:', 'https:')(value);
  return parsed instanceof Refusal ? new Refusal(`${parsed.accepted}, or the path of a unix socket`) : parsed;
};

function failureAsRefusal<T>(parse: () => T): T | Refusal {
  try {
    return parse();
  } catch (error) {
    if (error instanceof Failure)
      return new Refusal(error.message.replace(/^.*?; (?:accepted: )?/s, '').replace(/\.$/, ''));
    throw error;
  }
}

function trimSlash(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, '') : path;
}
