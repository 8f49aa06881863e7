/**
 * An append-only file of JSON records that rebuilds a state: what `append` resolved for survives any crash.
 *
 * A line is `<crc32> <JSON array of records>\n` and is one append: all records of the calls that waited together, made
 * durable by one write (O_DSYNC). A crash can only damage the last line; it is cut off at open, since nobody was told of
 * it. A damaged line anywhere else means that the medium lies, and opening fails rather than forget what was promised.
 *
 * Behind the last line the file is zeroes, written ahead by the piece: a line that replaces some of them changes neither
 * the file's size nor its blocks, so that it need not wait for the filesystem's own journal.
 *
 * Relies on one writer per file (the lock of the data directory). After a failed flush the kernel may have dropped the
 * dirty pages and would report success the next time, so the log refuses everything from then on.
 */
import type { FileHandle } from 'node:fs/promises';
import { constants, open, readFile, rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { limits } from '../config/limits.ts';
import { Failure } from '../domain/errors.ts';
import { fsyncDirectory, isAbsent, isNoSpace, replaceFile, temporaryName } from './durable-file.ts';
import { GroupCommit } from './group-commit.ts';

/** What the records mean. `apply` runs only for durable records, in their order. */
export interface RecordState<T> {
  /** Null: not a record of this log. */
  parse(value: unknown): T | null;
  apply(record: T): void;
  /** Records that rebuild the present state. */
  snapshot(): Iterable<T>;
  /** How many records `snapshot` has. */
  readonly size: number;
}

export class RecordLog<T> {
  readonly #path: string;
  readonly #state: RecordState<T>;
  readonly #commits: GroupCommit<T>;
  #file: FileHandle;
  /** Where the next line goes. */
  #endBytes: number;
  /** The file's size: from the end to here it is zeroes. */
  #sizeBytes: number;
  #records: number;
  #broken: unknown = null;

  private constructor(path: string, state: RecordState<T>, opened: Opened) {
    this.#path = path;
    this.#state = state;
    this.#file = opened.file;
    this.#endBytes = opened.endBytes;
    this.#sizeBytes = opened.sizeBytes;
    this.#records = opened.records;
    this.#commits = new GroupCommit((records) => this.#commit(records));
  }

  /** Replays the file into `state`, cuts a torn tail, and rewrites the file when most of it is outdated. */
  static async open<T>(path: string, state: RecordState<T>): Promise<RecordLog<T>> {
    await rm(temporaryName(path), { force: true });
    const content = await readOrEmpty(path);
    const written = content.subarray(0, endOfWritten(content));
    const { goodBytes, records } = replay(path, written, state);
    const sizeBytes = goodBytes === written.length ? content.length : goodBytes;
    const log = new RecordLog(path, state, await openAt(path, { endBytes: goodBytes, sizeBytes, records }));
    try {
      if (log.#isWasteful()) await log.#rewrite();
    } catch (error) {
      await log.close();
      throw error;
    }
    return log;
  }

  /** Resolves once the records are durable and applied. Concurrent calls share one write. */
  append(records: readonly T[]): Promise<void> {
    if (records.length === 0) return Promise.resolve();
    return this.#commits.add(records);
  }

  async close(): Promise<void> {
    await this.#commits.settled();
    // The zeroes have no meaning; where they stay, the next open reads over them.
    if (this.#broken === null) await this.#file.truncate(this.#endBytes).catch(() => undefined);
    this.#broken ??= new Error('closed');
    await this.#file.close();
  }

  async #commit(records: readonly T[]): Promise<void> {
    if (this.#broken !== null) throw this.#refusal();
    const line = encodeLine(records);
    await this.#write(line);
    this.#endBytes += line.length;
    this.#records += records.length;
    for (const record of records) this.#state.apply(record);
    if (this.#isWasteful()) await this.#rewrite();
  }

  /** Where zeroes ahead do not fit, the line alone may: perhaps it is what lets space be freed. */
  async #write(line: Buffer): Promise<void> {
    const isFull = this.#endBytes + line.length > this.#sizeBytes;
    if (isFull && (await this.#writeIfFits(padded(line))) === null) return;
    const cause = await this.#writeIfFits(line);
    if (cause === null) return;
    throw new Failure('out-of-space', `The disk is full: ${basename(this.#path)} could not be written.`, { cause });
  }

  /** Answers the error where there is no space; nothing of the content is in the file then. */
  async #writeIfFits(content: Buffer): Promise<unknown> {
    try {
      await writeFully(this.#file, content, this.#endBytes);
    } catch (error) {
      if (!isNoSpace(error)) {
        this.#broken = error;
        throw this.#refusal();
      }
      await this.#cutBack(error);
      return error;
    }
    this.#sizeBytes = Math.max(this.#sizeBytes, this.#endBytes + content.length);
    return null;
  }

  /** A short write (no space) is taken back, so that the next append does not follow damage. */
  async #cutBack(cause: unknown): Promise<void> {
    try {
      await this.#file.truncate(this.#endBytes);
      this.#sizeBytes = this.#endBytes;
    } catch {
      this.#broken = cause;
      throw this.#refusal();
    }
  }

  #isWasteful(): boolean {
    return this.#records > limits.recordLogSlackRecords && this.#records > 2 * this.#state.size;
  }

  /** Without space for the new file the old one, which is complete, stays in use. */
  async #rewrite(): Promise<void> {
    try {
      await replaceFile(this.#path, encodeSnapshot(this.#state.snapshot()));
      await this.#switchToRewritten();
    } catch (error) {
      if (isNoSpace(error)) return;
      this.#broken = error;
      throw this.#refusal();
    }
  }

  async #switchToRewritten(): Promise<void> {
    const outdated = this.#file;
    this.#file = await open(this.#path, durably);
    await outdated.close();
    this.#sizeBytes = (await this.#file.stat()).size;
    this.#endBytes = this.#sizeBytes;
    this.#records = this.#state.size;
  }

  #refusal(): Failure {
    return new Failure('device-error', `${this.#path} failed earlier and takes no more records`, {
      cause: this.#broken,
    });
  }
}

interface Extent {
  readonly endBytes: number;
  readonly sizeBytes: number;
  readonly records: number;
}

interface Opened extends Extent {
  readonly file: FileHandle;
}

const durably = constants.O_RDWR | constants.O_DSYNC;

/** No line has a zero byte. */
function endOfWritten(content: Buffer): number {
  let end = content.length;
  while (end > 0 && content[end - 1] === 0) end -= 1;
  return end;
}

/** The line, and zeroes for those that come after it. */
function padded(line: Buffer): Buffer {
  const content = Buffer.alloc(line.length + limits.recordLogAheadBytes);
  line.copy(content);
  return content;
}

async function readOrEmpty(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isAbsent(error)) return Buffer.alloc(0);
    throw error;
  }
}

/** Opens for writing with a torn last line gone, durably. */
async function openAt(path: string, extent: Extent): Promise<Opened> {
  const file = await open(path, durably | constants.O_CREAT, 0o600);
  try {
    await file.truncate(extent.sizeBytes);
    await file.sync();
    await fsyncDirectory(dirname(path));
  } catch (error) {
    await file.close();
    throw error;
  }
  return { file, ...extent };
}

const newline = 0x0a;
const checksumLength = 8;

function replay<T>(path: string, content: Buffer, state: RecordState<T>): { goodBytes: number; records: number } {
  let records = 0;
  let start = 0;
  while (start < content.length) {
    const end = content.indexOf(newline, start);
    const line = end === -1 ? null : decodeLine(content.subarray(start, end));
    if (line === null) {
      refuseDamageBefore(path, content, end, start);
      break;
    }
    for (const value of line) state.apply(parsed(path, value, state));
    records += line.length;
    start = end + 1;
  }
  return { goodBytes: start, records };
}

/** Only the very last line can be torn; damage with anything behind it is not what a crash leaves. */
function refuseDamageBefore(path: string, content: Buffer, endOfLine: number, start: number): void {
  if (endOfLine === -1 || endOfLine === content.length - 1) return;
  throw new Failure('data-damaged', `${path} is damaged at byte ${start}`);
}

function parsed<T>(path: string, value: unknown, state: RecordState<T>): T {
  const record = state.parse(value);
  if (record === null) throw new Failure('data-damaged', `${path} holds a record of another kind`);
  return record;
}

function decodeLine(line: Buffer): unknown[] | null {
  const payload = line.subarray(checksumLength + 1);
  if (payload.length === 0 || line.toString('latin1', 0, checksumLength) !== checksum(payload)) return null;
  const value: unknown = JSON.parse(payload.toString('utf8'));
  return Array.isArray(value) ? value : null;
}

function encodeLine<T>(records: readonly T[]): Buffer {
  const payload = Buffer.from(JSON.stringify(records), 'utf8');
  return Buffer.concat([Buffer.from(`${checksum(payload)} `, 'latin1'), payload, Buffer.of(newline)]);
}

function* encodeSnapshot<T>(records: Iterable<T>): Generator<string> {
  let part: T[] = [];
  for (const record of records) {
    part.push(record);
    if (part.length < limits.recordLogRecordsPerLine) continue;
    yield encodeLine(part).toString('utf8');
    part = [];
  }
  if (part.length > 0) yield encodeLine(part).toString('utf8');
}

function checksum(payload: Buffer): string {
  return crc32(payload).toString(16).padStart(checksumLength, '0');
}

async function writeFully(file: FileHandle, content: Buffer, position: number): Promise<void> {
  let written = 0;
  while (written < content.length) {
    const { bytesWritten } = await file.write(content, written, content.length - written, position + written);
    written += bytesWritten;
  }
}
