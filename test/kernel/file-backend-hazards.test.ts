/** Real files, loop devices and filesystems against the hazards that concern a storage node. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { dropCache, seekData } from '../../native-bindings/file.ts';
import { FileBackend } from '../../src/backends/file/file-backend.ts';
import { punchAndVerify, verifyEmpty, verifyZeroes } from '../../src/backends/file/medium-calls.ts';
import type { StorageNode } from '../../src/storage-node/storage-node.ts';
import { HighWaterLog } from '../../src/system/high-water-log.ts';
import { codes, mediaOf, sizeBytes, VolumeRequests } from '../contract/storage-node-suite.ts';
import { crashAtStep, ended, startCrashChild } from '../support/crash-storage-node.ts';
import { testOf } from '../support/groups.ts';
import { type LocalNodeOptions, openLocalNode, scratchDirectory } from '../support/local-storage-node.ts';

const test = testOf('kernel');
const run = promisify(execFile);
const mebibyte = 1024 * 1024;

async function openNode(t: ExecutionContext, dataDirectory: string, options?: LocalNodeOptions): Promise<StorageNode> {
  const node = await openLocalNode(dataDirectory, options);
  t.teardown(() => node.close());
  return node;
}

/** A node with one volume, whose medium is at `path`. */
async function provisioned(t: ExecutionContext) {
  const dataDirectory = await scratchDirectory(t);
  const node = await openNode(t, dataDirectory);
  const volume = new VolumeRequests(node);
  await node.provision([volume.provision(1)]);
  return { dataDirectory, node, volume, path: mediumPath(dataDirectory, volume, 1) };
}

function mediumPath(dataDirectory: string, volume: VolumeRequests, mediaGeneration: number): string {
  return join(dataDirectory, 'volumes', `${volume.volumeId}.${mediaGeneration}.img`);
}

async function writeSecret(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.write(Buffer.alloc(mebibyte, 'secret'), 0, mebibyte, 3 * mebibyte);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function holdsSecret(path: string): Promise<boolean> {
  return (await readFile(path)).includes('secret');
}

async function waitUntil(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('the awaited state did not come');
    await sleep(20);
  }
}

/** A loop device over the file, unbound when the test ends at the latest. */
async function bindLoop(t: ExecutionContext, path: string) {
  const { stdout } = await run('losetup', ['--find', '--show', path]);
  const device = stdout.trim();
  let isBound = true;
  const unbind = async () => {
    if (isBound) await run('losetup', ['--detach', device]);
    isBound = false;
  };
  t.teardown(unbind);
  return { device, unbind };
}

/** A small ext4 of its own, unmounted when the test ends, also where that leaves a file open on it. */
async function mountSmall(t: ExecutionContext, imageBytes: number): Promise<string> {
  const directory = await scratchDirectory(t);
  const [image, mountPoint] = [join(directory, 'image'), join(directory, 'mount')];
  await mkdir(mountPoint);
  await writeFile(image, '');
  await truncate(image, imageBytes);
  await run('mkfs.ext4', ['-F', '-q', '-m', '0', image]);
  await run('mount', ['-o', 'loop', image, mountPoint]);
  t.teardown(() => run('umount', ['--lazy', mountPoint]));
  return mountPoint;
}

test.serial('hazard 17: after a wipe the old file has no data extent and no block, read past the cache', async (t) => {
  const { node, volume, path } = await provisioned(t);
  await writeSecret(path);
  const old = await open(path, 'r+');
  t.teardown(() => old.close());
  t.not(seekData(old.fd, 0), null);
  t.deepEqual(codes(await node.wipe([volume.wipe(2, 1)])), ['ok']);
  t.is(seekData(old.fd, 0), null);
  t.is((await old.stat()).blocks, 0);
  dropCache(old.fd);
  const { buffer } = await old.read(Buffer.alloc(sizeBytes), 0, sizeBytes, 0);
  t.true(buffer.equals(Buffer.alloc(sizeBytes)));
});

test.serial('hazard 17: a punch that a power cut reverted is made again by the repeat', async (t) => {
  const dataDirectory = await scratchDirectory(t);
  const node = await openLocalNode(dataDirectory);
  const volume = new VolumeRequests(node);
  await node.provision([volume.provision(1)]);
  await node.close();
  const crash = await crashAtStep({ dataDirectory, method: 'wipe', request: volume.wipe(2, 1), step: 'named' });
  t.is(crash.signal, 'SIGKILL');
  const path = mediumPath(dataDirectory, volume, 1);
  await writeSecret(path);
  const old = await open(path, 'r');
  t.teardown(() => old.close());
  const again = await openNode(t, dataDirectory);
  const [result] = await again.wipe([volume.wipe(2, 1)]);
  t.like(result, { ok: true, value: { formatted: true, proof: { verifiedBytes: sizeBytes, generation: 2 } } });
  t.is(seekData(old.fd, 0), null);
  t.deepEqual(await mediaOf(again), [`${volume.volumeId}.2 ${sizeBytes}`]);
});

test.serial('hazard 17: bytes that are still there are found, whatever wiped before', async (t) => {
  const path = join(await scratchDirectory(t), 'medium');
  await writeFile(path, '');
  await truncate(path, 8 * mebibyte);
  await writeSecret(path);
  t.like(
    t.throws(() => verifyZeroes(path, 0, 8 * mebibyte)),
    { code: 'medium-not-empty' },
  );
  t.like(
    t.throws(() => verifyEmpty(path)),
    { code: 'medium-not-empty' },
  );
  t.is(punchAndVerify(path), 8 * mebibyte);
  t.notThrows(() => verifyZeroes(path, 0, 8 * mebibyte));
});

test.serial('hazard 17: a single block that is left over between two samples is found', async (t) => {
  const path = join(await scratchDirectory(t), 'medium');
  await writeFile(path, '');
  await truncate(path, 1024 * mebibyte);
  const file = await open(path, 'r+');
  await file.write(Buffer.alloc(4096, 'secret'), 0, 4096, 100 * mebibyte);
  await file.sync();
  await file.close();
  t.like(
    t.throws(() => verifyEmpty(path)),
    { code: 'medium-not-empty' },
  );
});

test.serial('hazard 17: a size that ends within a block is wiped to its last byte', async (t) => {
  const path = join(await scratchDirectory(t), 'medium');
  await writeFile(path, Buffer.alloc(3 * mebibyte + 1234, 'secret'));
  t.is(punchAndVerify(path), 3 * mebibyte + 1234);
  t.false(await holdsSecret(path));
});

test.serial('hazard 3: what a loop device still has is neither wiped nor destroyed, and keeps its bytes', async (t) => {
  const { node, volume, path } = await provisioned(t);
  await writeSecret(path);
  const loop = await bindLoop(t, path);
  t.deepEqual(codes(await node.wipe([volume.wipe(2, 1)])), ['device-busy']);
  t.deepEqual(codes(await node.destroy([volume.destroy(2)])), ['device-busy']);
  t.true(await holdsSecret(path));
  await loop.unbind();
  t.deepEqual(codes(await node.wipe([volume.wipe(2, 1)])), ['ok']);
});

test.serial('hazard 3: a loop device whose file was deleted keeps its volume from being wiped', async (t) => {
  const { node, volume, path } = await provisioned(t);
  const loop = await bindLoop(t, path);
  await rm(path);
  t.deepEqual(codes(await node.wipe([volume.wipe(2, 1)])), ['device-busy']);
  await loop.unbind();
  await writeFile(path, Buffer.alloc(sizeBytes));
  t.deepEqual(codes(await node.wipe([volume.wipe(2, 1)])), ['ok']);
});

test.serial('hazard 3: devices are read unless the kernel says that nobody at all has the medium open', async (t) => {
  const directory = await scratchDirectory(t);
  const backend = await FileBackend.open({ directory, reservePercent: 0, sysfsRoot: join(directory, 'no-sysfs') });
  t.teardown(() => backend.close());
  const medium = { volumeId: 'vol_1', sizeBytes: mebibyte, filesystem: null, backend: 'file' };
  t.true((await backend.provision({ ...medium, generation: 1, mediaGeneration: 1 })).ok);
  const wipe = { ...medium, generation: 2, oldMediaGeneration: 1, newMediaGeneration: 2 };
  const reader = await open(join(directory, 'vol_1.1.img'), 'r');
  t.like(await backend.wipe(wipe), { ok: false, problem: { code: 'device-error' } });
  await reader.close();
  t.true((await backend.wipe(wipe)).ok);
});

test.serial('hazard 3: a loop device over a file of the same name elsewhere is somebody else’s', async (t) => {
  const { node, volume } = await provisioned(t);
  const elsewhere = await scratchDirectory(t);
  const other = join(elsewhere, `${volume.volumeId}.1.img`);
  await writeFile(other, Buffer.alloc(mebibyte));
  await bindLoop(t, other);
  t.deepEqual(codes(await node.wipe([volume.wipe(2, 1)])), ['ok']);
});

test.serial('hazard 3: a loop device that reached the medium by another path counts', async (t) => {
  const { dataDirectory, node, volume } = await provisioned(t);
  const elsewhere = await scratchDirectory(t);
  await run('mount', ['--bind', join(dataDirectory, 'volumes'), elsewhere]);
  t.teardown(() => run('umount', [elsewhere]));
  await bindLoop(t, join(elsewhere, `${volume.volumeId}.1.img`));
  t.deepEqual(codes(await node.wipe([volume.wipe(2, 1)])), ['device-busy']);
});

test.serial('hazard 5: every owner gets another file; the old one’s stale descriptor reaches nobody', async (t) => {
  const { dataDirectory, node, volume, path: former } = await provisioned(t);
  const before = await stat(former);
  const stale = await open(former, 'r+');
  t.teardown(() => stale.close());
  await node.wipe([volume.wipe(2, 1)]);
  const path = mediumPath(dataDirectory, volume, 2);
  t.not((await stat(path)).ino, before.ino);
  await stale.write(Buffer.alloc(mebibyte, 'secret'), 0, mebibyte, 0);
  await stale.sync();
  t.false(await holdsSecret(path));
  t.false(existsSync(former));
});

test.serial('hazard 1: of an old wipe and a new export that race, the wipe is refused or was first', async (t) => {
  const node = await openNode(t, await scratchDirectory(t));
  const volume = new VolumeRequests(node);
  await node.provision([volume.provision(1)]);
  const [exported, wiped] = await Promise.all([
    node.export([volume.export(3, 1, [0])]),
    node.wipe([volume.wipe(2, 1)]),
  ]);
  t.deepEqual([codes(exported), codes(wiped)], [['ok'], ['stale-generation']]);
  t.deepEqual(await mediaOf(node), [`${volume.volumeId}.1 ${sizeBytes}`]);
});

test.serial('hazard 2: a damaged stamp keeps the node from opening', async (t) => {
  const dataDirectory = await scratchDirectory(t);
  await writeFile(join(dataDirectory, 'store-stamp.json'), '{"storeId": 7}');
  const error = await t.throwsAsync(openLocalNode(dataDirectory));
  t.like(error, { code: 'data-damaged' });
});

/** An mkfs that waits for a gate, then writes into its medium: what an orphan does to the next owner. */
async function gatedMkfs(dataDirectory: string) {
  const [script, started, gate, done] = ['mkfs', 'started', 'gate', 'done'].map((name) => join(dataDirectory, name));
  const lines = [
    '#!/bin/sh',
    'for path in "$@"; do :; done',
    `echo $$ > ${started}`,
    `while [ ! -e ${gate} ]; do sleep 0.05; done`,
    'printf orphan | dd of="$path" conv=notrunc status=none',
    `echo > ${done}`,
  ];
  await writeFile(String(script), `${lines.join('\n')}\n`, { mode: 0o755 });
  return { script: String(script), started: String(started), gate: String(gate), done: String(done) };
}

test.serial('hazard 4: after kill -9 of its parent an mkfs keeps everybody else from the volume', async (t) => {
  const dataDirectory = await scratchDirectory(t);
  const { script: mkfs, started, gate, done } = await gatedMkfs(dataDirectory);
  const node = await openNode(t, dataDirectory, { file: { lockDeadlineMs: 100 } });
  const volume = new VolumeRequests(node);
  const plan = { dataDirectory, method: 'provision', request: volume.provision(1), step: null, mkfs } as const;
  const parent = startCrashChild(plan);
  t.teardown(() => writeFile(gate, ''));
  await waitUntil(() => existsSync(started));
  process.kill(Number(parent.pid), 'SIGKILL');
  t.is((await ended(parent)).signal, 'SIGKILL');

  t.deepEqual(codes(await node.provision([volume.provision(2)])), ['device-busy']);
  t.deepEqual(codes(await node.wipe([volume.wipe(3, 1)])), ['device-busy']);
  t.deepEqual(codes(await node.destroy([volume.destroy(4)])), ['device-busy']);
  t.deepEqual(await mediaOf(node), []);

  await writeFile(gate, '');
  await waitUntil(() => existsSync(done));
  const recovered = await openNode(t, dataDirectory);
  t.deepEqual(codes(await recovered.provision([volume.provision(5)])), ['ok']);
  t.deepEqual(await recovered.inventory().then(({ media }) => media.length), 1);
  t.false((await readFile(mediumPath(dataDirectory, volume, 5))).includes('orphan'));
  const files = await readdir(join(dataDirectory, 'volumes'));
  t.deepEqual(files.sort(), ['locks', `${volume.volumeId}.5.img`].sort());
});

test.serial('hazard 4: an action waits for the orphan and begins only when that has ended', async (t) => {
  const dataDirectory = await scratchDirectory(t);
  const { script: mkfs, started, gate, done } = await gatedMkfs(dataDirectory);
  const empty = await openLocalNode(dataDirectory);
  const [volume, other] = [new VolumeRequests(empty), new VolumeRequests(empty)];
  await empty.close();
  const plan = { dataDirectory, method: 'provision', request: volume.provision(1), step: null, mkfs } as const;
  const parent = startCrashChild(plan);
  t.teardown(() => writeFile(gate, ''));
  await waitUntil(() => existsSync(started));
  process.kill(Number(parent.pid), 'SIGKILL');
  await ended(parent);
  const node = await openNode(t, dataDirectory);
  let orphanHadEnded: boolean | null = null;
  const provisioned = node.provision([volume.provision(2)]).then((results) => {
    orphanHadEnded = existsSync(done);
    return results;
  });
  for (const generation of [1, 2, 3]) t.deepEqual(codes(await node.provision([other.provision(generation)])), ['ok']);
  t.is(orphanHadEnded, null);
  await writeFile(gate, '');
  t.deepEqual(codes(await provisioned), ['ok']);
  t.true(orphanHadEnded);
  t.false((await readFile(mediumPath(dataDirectory, volume, 2))).includes('orphan'));
  const files = await readdir(join(dataDirectory, 'volumes'));
  t.deepEqual(files.sort(), ['locks', `${volume.volumeId}.2.img`, `${other.volumeId}.3.img`].sort());
});

test.serial('a full filesystem is out of space, and what did not fit leaves nothing behind', async (t) => {
  const directory = join(await mountSmall(t, 64 * mebibyte), 'volumes');
  const options = { directory, allocation: 'full', reserveBytes: 0, reservePercent: 0 } as const;
  const backend = await FileBackend.open(options);
  t.teardown(() => backend.close());
  const request = (number: number) => {
    const medium = { mediaGeneration: 1, sizeBytes: 20 * mebibyte, filesystem: null };
    return { volumeId: `vol_${number}`, generation: 1, backend: 'file', ...medium };
  };
  const results = await Promise.all([1, 2, 3, 4].map((number) => backend.provision(request(number))));
  t.deepEqual(codes(results).sort(), ['ok', 'ok', 'out-of-space', 'out-of-space']);
  t.is((await backend.inventory()).length, 2);
  t.is((await readdir(directory)).length, 3);
});

test.serial('without the check beforehand, the filesystem’s own ENOSPC leaves nothing behind either', async (t) => {
  const mountPoint = await mountSmall(t, 64 * mebibyte);
  const path = join(mountPoint, 'medium');
  const { createZeroed } = await import('../../src/backends/file/medium-calls.ts');
  t.like(
    t.throws(() => createZeroed(path, 500 * mebibyte, true)),
    { code: 'ENOSPC' },
  );
  t.false(existsSync(path));
});

test.serial('marks that found no space are refused; those before and after are kept', async (t) => {
  const mountPoint = await mountSmall(t, 16 * mebibyte);
  const log = await HighWaterLog.open(join(mountPoint, 'marks.log'));
  await log.raise([{ key: 'before', value: 1 }]);
  await run('sh', ['-c', `dd if=/dev/zero of=${mountPoint}/filler bs=64k status=none || true`]);
  const many = Array.from({ length: 20_000 }, (_, n) => ({ key: `during${n}`, value: n }));
  t.like(await t.throwsAsync(log.raise(many)), { code: 'out-of-space' });
  t.is(log.get('during1'), undefined);
  await rm(join(mountPoint, 'filler'));
  await log.raise([{ key: 'after', value: 2 }]);
  await log.close();
  const again = await HighWaterLog.open(join(mountPoint, 'marks.log'));
  t.deepEqual([again.get('before'), again.get('during1'), again.get('after')], [1, undefined, 2]);
  await again.close();
});
