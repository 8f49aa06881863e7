/**
 * The data directory on a disk of its own, and that disk's content at a moment: what a power cut would leave.
 *
 * The directory is an ext4 filesystem on a loop device whose image lies on XFS. Data reach the image when the inner
 * filesystem submits them (fsync, its own journal, writeback), not when a process writes them: what only the page cache
 * has is not in it. A reflink copy of the image is one point in time, taken under the file's lock between two writes of
 * the loop device, so the copy is what a disk that completes its writes in the order of their submission holds at that
 * moment. It is kinder than a disk that also loses writes which were submitted and not flushed: a missing fsync is
 * found, a flush that a filesystem forgot would not be.
 */
import { execFile, execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { loopsBelow, makeSparseFile, mountsBelow, quietly } from '../support/linux-host-harness.ts';
import type { Ledger } from './ledger.ts';
import type { Service } from './service.ts';

const outerBytes = 4 * 1024 ** 3;
const diskBytes = 2 * 1024 ** 3;
const releaseTimeoutMs = 20_000;
const run = promisify(execFile);

/** How a service comes to its end. */
export interface Strike {
  /** Whether other processes of the machine go on. */
  readonly leavesProcesses: boolean;
  /** Before the first start. */
  prepare(service: Service): Promise<void>;
  /** Afterwards nothing runs, and the data directory is what is left. */
  strike(service: Service, ledger: Ledger): Promise<void>;
}

export const killing: Strike = {
  leavesProcesses: true,
  prepare: async () => {},
  strike: (service) => service.kill(),
};

export class PowerCut implements Strike {
  readonly leavesProcesses = false;

  async prepare(service: Service): Promise<void> {
    const outer = join(service.root, 'outer.img');
    makeSparseFile(outer, outerBytes);
    execFileSync('mkfs.xfs', ['-q', '-f', '-m', 'reflink=1', outer]);
    mkdirSync(join(service.root, 'outer'));
    execFileSync('mount', ['-o', 'loop', outer, join(service.root, 'outer')]);
    makeSparseFile(diskOf(service), diskBytes);
    execFileSync('mkfs.ext4', ['-q', '-F', diskOf(service)]);
    powerOn(service);
  }

  async strike(service: Service, ledger: Ledger): Promise<void> {
    const copy = `${diskOf(service)}.cut`;
    ledger.isCut = true;
    await run('cp', ['--reflink=always', diskOf(service), copy]);
    await service.kill();
    await powerOff(service);
    renameSync(copy, diskOf(service));
    powerOn(service);
  }
}

function diskOf(service: Service): string {
  return join(service.root, 'outer', 'disk.img');
}

/** A machine that was started again has another boot id, and no loop devices or mounts of ours. */
function powerOn(service: Service): void {
  execFileSync('mount', ['-o', 'loop', diskOf(service), service.dataDirectory]);
  service.setEnvironment({ CRASH_BOOT_ID: randomUUID() });
}

async function powerOff(service: Service): Promise<void> {
  const { dataDirectory, mountDirectory } = service;
  const mounts = () => [...mountsBelow(mountDirectory), ...mountsBelow(dataDirectory)];
  const deadline = performance.now() + releaseTimeoutMs;
  for (;;) {
    for (const path of mounts().reverse()) quietly('umount', [path]);
    for (const device of loopsBelow(dataDirectory)) quietly('losetup', ['-d', device]);
    quietly('umount', [dataDirectory]);
    if (!mountsBelow(service.root).includes(dataDirectory)) break;
    if (performance.now() > deadline) throw new Error(`${dataDirectory} is still in use: ${mounts().join(' ')}`);
    await sleep(50);
  }
  while (loopsBelow(join(service.root, 'outer')).length > 0) {
    if (performance.now() > deadline) throw new Error(`${diskOf(service)} still has a loop device`);
    await sleep(20);
  }
}
