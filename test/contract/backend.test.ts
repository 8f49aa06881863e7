import { open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { FileBackend, type FileBackendOptions } from '../../src/backends/file/file-backend.ts';
import { newId } from '../../src/domain/ids.ts';
import { CommandError, type RunCommand, runCommand } from '../../src/system/command.ts';
import { scratchDirectory } from '../support/local-storage-node.ts';

const sizeBytes = 16 * 1024 * 1024;

async function openBackend(t: ExecutionContext, options: Partial<FileBackendOptions> = {}) {
  const directory = options.directory ?? (await scratchDirectory(t));
  const backend = await FileBackend.open({ reserveBytes: 0, reservePercent: 0, ...options, directory });
  t.teardown(() => backend.close());
  return { directory, backend };
}

function request(volumeId: string, mediaGeneration = 1) {
  return {
    volumeId,
    generation: mediaGeneration,
    backend: 'file',
    mediaGeneration,
    sizeBytes,
    filesystem: 'ext4',
  } as const;
}

function wipeRequest(volumeId: string) {
  const medium = { oldMediaGeneration: 1, newMediaGeneration: 2, sizeBytes, filesystem: 'ext4' } as const;
  return { volumeId, generation: 2, backend: 'file', ...medium };
}

async function filesIn(directory: string): Promise<string[]> {
  return (await readdir(directory)).filter((name) => name !== 'locks').sort();
}

/** mkfs that ends as told instead of doing anything. */
function failingCommand(reason: 'absent' | 'exit' | 'overran', stderrTail = ''): RunCommand {
  return async (argv) => {
    throw new CommandError({ argv, reason, exitCode: reason === 'exit' ? 1 : null, signal: null, stderrTail });
  };
}

const variants: Readonly<Record<string, Partial<FileBackendOptions>>> = {
  'sparse files': {},
  'preallocated files': { allocation: 'full' },
  'files that cannot be punched': { canPunchHole: false },
};

for (const [variant, options] of Object.entries(variants)) {
  test.serial(`${variant}: a medium is located once it is complete, and has its filesystem`, async (t) => {
    const { directory, backend } = await openBackend(t, options);
    const volumeId = newId('vol');
    t.is(await backend.locate(volumeId, 1), null);
    t.deepEqual(await backend.provision(request(volumeId)), { ok: true, value: { formatted: true } });
    const path = join(directory, `${volumeId}.1.img`);
    t.is(await backend.locate(volumeId, 1), path);
    t.is((await readFile(path)).readUInt16LE(1080), 0xef53);
    t.deepEqual(await filesIn(directory), [`${volumeId}.1.img`]);
  });

  test.serial(`${variant}: a filesystem on a medium passes its own check`, async (t) => {
    const { directory, backend } = await openBackend(t, options);
    const volumeId = newId('vol');
    await backend.provision(request(volumeId));
    const path = join(directory, `${volumeId}.1.img`);
    await t.notThrowsAsync(runCommand(['e2fsck', '-f', '-n', path], { deadlineMs: 30_000 }));
  });

  test.serial(`${variant}: a wipe destroys the bytes in the old file before that is removed`, async (t) => {
    const { directory, backend } = await openBackend(t, options);
    const volumeId = newId('vol');
    await backend.provision(request(volumeId));
    const old = await open(join(directory, `${volumeId}.1.img`), 'r+');
    t.teardown(() => old.close());
    await old.write(Buffer.alloc(1024 * 1024, 'secret'), 0, 1024 * 1024, 5_000_000);
    await old.sync();
    const result = await backend.wipe(wipeRequest(volumeId));
    const method = options.canPunchHole === false ? 'zeroes' : 'punch-hole';
    t.deepEqual(result, {
      ok: true,
      value: { formatted: true, proof: { method, verifiedBytes: sizeBytes, generation: 2 } },
    });
    const { buffer, bytesRead } = await old.read(Buffer.alloc(sizeBytes), 0, sizeBytes, 0);
    t.is(bytesRead, sizeBytes);
    t.true(buffer.equals(Buffer.alloc(sizeBytes)));
    t.deepEqual(await filesIn(directory), [`${volumeId}.2.img`]);
    t.false((await readFile(join(directory, `${volumeId}.2.img`))).includes('secret'));
  });
}

test.serial('a preallocated medium has all of its blocks, a sparse one next to none', async (t) => {
  const [full, sparse] = [await openBackend(t, { allocation: 'full' }), await openBackend(t)];
  const volumeId = newId('vol');
  await full.backend.provision(request(volumeId));
  await sparse.backend.provision(request(volumeId));
  const [fullMedium] = await full.backend.inventory();
  const [sparseMedium] = await sparse.backend.inventory();
  t.true((fullMedium?.allocatedBytes ?? 0) >= sizeBytes);
  t.true((sparseMedium?.allocatedBytes ?? sizeBytes) < sizeBytes / 4);
});

test.serial('an XFS medium has its filesystem', async (t) => {
  const { directory, backend } = await openBackend(t);
  const volumeId = newId('vol');
  const xfs = { ...request(volumeId), filesystem: 'xfs', sizeBytes: 320 * 1024 * 1024 } as const;
  t.deepEqual(await backend.provision(xfs), { ok: true, value: { formatted: true } });
  t.deepEqual(await backend.provision(xfs), { ok: true, value: { formatted: true } });
  t.true((await stat(join(directory, `${volumeId}.1.img`))).isFile());
});

test.serial('without mkfs the medium is usable and said to be unformatted', async (t) => {
  const { backend } = await openBackend(t, { runCommand: failingCommand('absent') });
  const volumeId = newId('vol');
  t.deepEqual(await backend.provision(request(volumeId)), { ok: true, value: { formatted: false } });
  t.deepEqual(await backend.provision(request(volumeId)), { ok: true, value: { formatted: false } });
});

test.serial('an mkfs without the newest option formats all the same', async (t) => {
  const older: RunCommand = async (argv, options) => {
    if (!argv.some((each) => each.includes('assume_storage_prezeroed'))) return await runCommand(argv, options);
    return await failingCommand('exit', 'Bad option(s) specified: assume_storage_prezeroed')(argv, options);
  };
  const { backend } = await openBackend(t, { runCommand: older });
  t.deepEqual(await backend.provision(request(newId('vol'))), { ok: true, value: { formatted: true } });
});

for (const [reason, code] of [
  ['exit', 'storage-failed'],
  ['overran', 'deadline-exceeded'],
] as const) {
  test.serial(`an mkfs that ends with ${reason} is ${code}, and leaves nothing behind`, async (t) => {
    const { directory, backend } = await openBackend(t, { runCommand: failingCommand(reason) });
    const result = await backend.provision(request(newId('vol')));
    t.like(result, { ok: false, problem: { code } });
    t.deepEqual(await filesIn(directory), []);
    t.deepEqual(await backend.inventory(), []);
  });
}

test.serial('what a crash left under a temporary name is removed by the next inventory', async (t) => {
  const directory = await scratchDirectory(t);
  await writeFile(join(directory, `.new-${newId('vol')}.1.img`), 'half a medium');
  const { backend } = await openBackend(t, { directory });
  t.deepEqual(await backend.inventory(), []);
  t.deepEqual(await filesIn(directory), []);
  t.deepEqual(await readdir(join(directory, 'locks')), []);
});

test.serial('files that are no media are neither shown nor touched', async (t) => {
  const directory = await scratchDirectory(t);
  await writeFile(join(directory, 'notes.txt'), 'somebody else’s');
  const { backend } = await openBackend(t, { directory });
  t.deepEqual(await backend.inventory(), []);
  t.deepEqual(await filesIn(directory), ['notes.txt']);
});

test.serial('an unreadable directory is an error, not an empty inventory', async (t) => {
  const { directory, backend } = await openBackend(t);
  const { rm } = await import('node:fs/promises');
  await rm(directory, { recursive: true });
  await t.throwsAsync(backend.inventory());
});

test.serial('provisioning that would eat the reserve is out of space, a wipe goes on', async (t) => {
  const { directory, backend } = await openBackend(t);
  const volumeId = newId('vol');
  await backend.provision(request(volumeId));
  for (const allocation of ['sparse', 'full'] as const) {
    const reserved = await openBackend(t, { directory, allocation, reservePercent: 100 });
    t.is((await reserved.backend.space()).availableBytes, 0);
    const result = await reserved.backend.provision(request(newId('vol')));
    t.like(result, { ok: false, problem: { code: 'out-of-space' } });
  }
  t.deepEqual(await filesIn(directory), [`${volumeId}.1.img`]);
  const { backend: last } = await openBackend(t, { directory, reservePercent: 100 });
  t.like(await last.wipe(wipeRequest(volumeId)), { ok: true });
});

test.serial('a volume id that is no id never becomes a path', async (t) => {
  const { backend } = await openBackend(t);
  for (const volumeId of ['../escape', 'a/b', '', '.']) {
    t.like(await backend.provision(request(volumeId)), { ok: false, problem: { code: 'invalid-request' } });
  }
});
