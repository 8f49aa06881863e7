/**
 * The log: one line an entry, JSON for machines, readable on a terminal. It goes to stderr, so that what a command
 * prints stays its own.
 *
 * Nothing secret gets out: fields whose name says so are masked at any depth, and so are passwords in URLs and bearer
 * tokens wherever in a line they stand (a driver's error message likes to quote its connection string).
 */
import { type DestinationStream, destination, type Logger, pino } from 'pino';
import type { LogConfig } from '../config/config.ts';

type Write = (fields: object, message: string) => void;

/** What the product's parts see of the log: fields first, then one fixed sentence. */
export interface Log {
  readonly trace: Write;
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
  child(fields: Record<string, unknown>): Log;
}

export interface LogOptions {
  /** Which program writes: `controller`, `agent` ... */
  readonly program: string;
  readonly isTerminal: boolean;
  /** Where lines go; stderr unless stated. */
  readonly output?: DestinationStream;
}

export function createLog(config: LogConfig, options: LogOptions): Logger {
  const human = config.format === 'human' || (config.format === 'auto' && options.isTerminal);
  const output = options.output ?? destination({ fd: 2, sync: true });
  const write = (line: string) => output.write(human ? humanLine(maskText(line)) : maskText(line));
  return pino(
    {
      level: config.level,
      base: human ? null : { program: options.program, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write },
  );
}

/** Says nothing: for tests, and for commands that answer by what they print. */
export const silentLog: Logger = pino({ level: 'silent' });

const mask = '********';
const secretField =
  /("[\w-]*(?:token|secret|password|passwd|authorization|cookie|credential|private_?key)s?":\s*)(?:"(?:[^"\\]|\\.)*"|\[[^\]]*\])/gi;

/** Of a header. The sentence "a bearer token is needed" has none: its word `token` stands alone. */
const bearerToken = /\b(bearer )(?!tokens?(?![\w~+/=-]|\.\w))[\w.~+/=-]+/gi;

/** Masks, in one line of JSON or in any other text: fields named as secrets, passwords of URLs, bearer tokens. */
function maskText(text: string): string {
  return text
    .replaceAll(secretField, `$1"${mask}"`)
    .replaceAll(/(\b[a-z][a-z0-9+.-]*:\/\/[^\s:/?#@"]*):[^\s@/"]+@/gi, `$1:${mask}@`)
    .replaceAll(bearerToken, `$1${mask}`)
    .replaceAll(/([?&](?:password|token|secret|sslpassword)=)[^\s&"]+/gi, `$1${mask}`);
}

const hidden = new Set(['time', 'level', 'msg', 'err', 'pid', 'program']);

/** `12:30:01.250 info  pool refilled  pool=default free=10`, an error's stack on the lines after it. */
function humanLine(line: string): string {
  const entry: Record<string, unknown> = JSON.parse(line);
  const time = String(entry.time).slice(11, 23);
  const level = String(entry.level).padEnd(5);
  const fields = Object.entries(entry).flatMap(([name, value]) =>
    hidden.has(name) ? [] : [`${name}=${shown(value)}`],
  );
  const head = [`${time} ${level} ${entry.msg ?? ''}`, ...fields].join('  ');
  return `${head}${errorText(entry.err)}\n`;
}

function shown(value: unknown): string {
  return typeof value === 'string' && !/[\s="]/.test(value) ? value : JSON.stringify(value);
}

function errorText(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  const { stack, message } = Object.fromEntries(Object.entries(error));
  return `\n  ${String(stack ?? message ?? '').replaceAll('\n', '\n  ')}`;
}
