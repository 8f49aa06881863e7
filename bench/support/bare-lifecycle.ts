import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdirSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import SqliteDatabase from 'better-sqlite3';
import { mount, mountFlags, unmount } from '../../native-bindings/libc.ts';
import { loopClear, loopConfigure, loopFlags, loopGetFree } from '../../native-bindings/loop.ts';
import { systemCodeOf } from '../../src/system/system-call-error.ts';

interface LoopDevice {
  readonly number: number;
  readonly descriptor: number;
}

/**
 * What the `lifecycle` bench is held against, in the same process and on the same disk: one bare durable commit, and the
 * kernel's own part of attach (LOOP_CONFIGURE + mount) and detach (umount + LOOP_CLR_FD), with nothing around them.
 */
export class BareLifecycle {
  readonly #directory: string;
  readonly #file: string;
  readonly #target: string;
  readonly #sqlite: SqliteDatabase.Database;
  readonly #insert: SqliteDatabase.Statement;
  #device: LoopDevice | null = null;

  constructor(parent: string, sizeBytes: number) {
    this.#directory = mkdtempSync(join(parent, 'fcr-bench-bare-'));
    this.#file = join(this.#directory, 'medium.img');
    this.#target = join(this.#directory, 'mount');
    mkdirSync(this.#target);
    writeFileSync(this.#file, '');
    truncateSync(this.#file, sizeBytes);
    execFileSync('mkfs.ext4', ['-F', '-q', '-E', 'nodiscard', this.#file]);
    this.#sqlite = new SqliteDatabase(join(this.#directory, 'commits.sqlite'));
    this.#sqlite.pragma('journal_mode = WAL');
    this.#sqlite.pragma('synchronous = FULL');
    this.#sqlite.exec('CREATE TABLE commits (id integer PRIMARY KEY, body text)');
    this.#insert = this.#sqlite.prepare('INSERT INTO commits (body) VALUES (?)');
  }

  commit(): void {
    this.#sqlite.exec('BEGIN IMMEDIATE');
    this.#insert.run('x'.repeat(500));
    this.#sqlite.exec('COMMIT');
  }

  attach(): void {
    let device = this.#bind();
    while (device === null) device = this.#bind();
    this.#device = device;
    mount(`/dev/loop${device.number}`, this.#target, 'ext4', mountFlags.MS_NOSUID | mountFlags.MS_NODEV);
  }

  /** Null when somebody else on this machine took the free device first. */
  #bind(): LoopDevice | null {
    const control = openSync('/dev/loop-control', 'r+');
    const number = loopGetFree(control);
    closeSync(control);
    const descriptor = openSync(`/dev/loop${number}`, 'r+');
    const file = openSync(this.#file, constants.O_RDWR | constants.O_DIRECT);
    try {
      loopConfigure(descriptor, { backingDescriptor: file, flags: loopFlags.LO_FLAGS_DIRECT_IO, mark: 'bench' });
      return { number, descriptor };
    } catch (error) {
      closeSync(descriptor);
      if (systemCodeOf(error) !== 'EBUSY') throw error;
      return null;
    } finally {
      closeSync(file);
    }
  }

  detach(): void {
    if (this.#device === null) return;
    unmount(this.#target);
    loopClear(this.#device.descriptor);
    closeSync(this.#device.descriptor);
    this.#device = null;
  }

  close(): void {
    this.detach();
    this.#sqlite.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
