import { mkdir, readdir, readlink, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { newId } from '../../src/domain/ids.ts';
import { LocalExporter } from '../../src/fabric/local/local-exporter.ts';
import { scratchDirectory } from '../support/local-storage-node.ts';

const initiatorWwpn = '20:00:02:00:00:00:00:a0';

async function openExporter(t: ExecutionContext, dataDirectory: string): Promise<LocalExporter> {
  const exporter = await LocalExporter.open({ dataDirectory, seed: 'test' });
  t.teardown(() => exporter.close().catch(() => undefined));
  return exporter;
}

function exportRequest(exporter: LocalExporter, lun: number, volumeId = newId('vol')) {
  const path = { initiatorWwpn, targetWwpn: exporter.targetPorts[0]?.wwpn ?? '', lun };
  const identity = { serial: 's', wwid: 'w', epoch: 1, readOnly: false };
  const attachmentId = newId('att');
  return { volumeId, attachmentId, generation: 1, mediaGeneration: 1, paths: [path], ...identity };
}

function linkPath(dataDirectory: string, request: ReturnType<typeof exportRequest>): string {
  const [path] = request.paths;
  return join(dataDirectory, 'exports', `${path?.targetWwpn}`, initiatorWwpn, `${path?.lun}`);
}

test.serial('a path is a link to the medium, named after target, initiator and LUN', async (t) => {
  const dataDirectory = await scratchDirectory(t);
  const exporter = await openExporter(t, dataDirectory);
  const request = exportRequest(exporter, 3);
  t.deepEqual(await exporter.export(request, '/volumes/a.1.img'), { ok: true, value: null });
  t.is(await readlink(linkPath(dataDirectory, request)), '/volumes/a.1.img');
  t.deepEqual(await exporter.unexport(request), { ok: true, value: null });
  t.deepEqual(await readdir(dirname(linkPath(dataDirectory, request))), []);
});

test.serial('links that a power cut took or brought back agree with the log after opening', async (t) => {
  const dataDirectory = await scratchDirectory(t);
  const before = await openExporter(t, dataDirectory);
  const [kept, gone] = [exportRequest(before, 1), exportRequest(before, 2)];
  await before.export(kept, '/volumes/kept.1.img');
  await before.export(gone, '/volumes/gone.1.img');
  await before.unexport(gone);
  await before.close();
  await unlink(linkPath(dataDirectory, kept));
  await symlink('/volumes/gone.1.img', linkPath(dataDirectory, gone));
  const after = await openExporter(t, dataDirectory);
  t.is(await readlink(linkPath(dataDirectory, kept)), '/volumes/kept.1.img');
  t.deepEqual(await readdir(dirname(linkPath(dataDirectory, kept))), ['1']);
  t.deepEqual(
    (await after.inventory()).map(({ attachmentId }) => attachmentId),
    [kept.attachmentId],
  );
});

test.serial('somebody else’s link in the place of a path is an error, and stays', async (t) => {
  const dataDirectory = await scratchDirectory(t);
  const exporter = await openExporter(t, dataDirectory);
  const request = exportRequest(exporter, 5);
  const path = linkPath(dataDirectory, request);
  await mkdir(dirname(path), { recursive: true });
  await symlink('/somewhere/else', path);
  t.like(await exporter.export(request, '/volumes/a.1.img'), { ok: false, problem: { code: 'device-error' } });
  t.is(await readlink(path), '/somewhere/else');
  t.deepEqual(await exporter.inventory(), []);
  await unlink(path);
  t.deepEqual(await exporter.export(request, '/volumes/a.1.img'), { ok: true, value: null });
});

test.serial('a partly refused export leaves none of its paths', async (t) => {
  const dataDirectory = await scratchDirectory(t);
  const exporter = await openExporter(t, dataDirectory);
  const blocked = exportRequest(exporter, 6);
  await mkdir(dirname(linkPath(dataDirectory, blocked)), { recursive: true });
  await symlink('/somewhere/else', linkPath(dataDirectory, blocked));
  const request = { ...blocked, paths: [...exportRequest(exporter, 7).paths, ...blocked.paths] };
  t.like(await exporter.export(request, '/volumes/a.1.img'), { ok: false });
  t.deepEqual(await readdir(dirname(linkPath(dataDirectory, blocked))), ['6']);
});

test.serial('an attachment’s own outdated link is replaced when its medium has moved', async (t) => {
  const dataDirectory = await scratchDirectory(t);
  const exporter = await openExporter(t, dataDirectory);
  const request = exportRequest(exporter, 8);
  await exporter.export(request, '/volumes/a.1.img');
  t.deepEqual(await exporter.export({ ...request, generation: 2 }, '/volumes/a.2.img'), { ok: true, value: null });
  t.is(await readlink(linkPath(dataDirectory, request)), '/volumes/a.2.img');
});

test.serial('of two exports that claim one LUN at the same time only one gets it', async (t) => {
  const exporter = await openExporter(t, await scratchDirectory(t));
  const claims = [exportRequest(exporter, 9), exportRequest(exporter, 9)];
  const results = await Promise.all(claims.map((claim, at) => exporter.export(claim, `/volumes/${at}.1.img`)));
  t.deepEqual(results.map((result) => result.ok).sort(), [false, true]);
  t.is((await exporter.inventory()).length, 1);
});

test.serial('a path that is none never becomes a file name', async (t) => {
  const exporter = await openExporter(t, await scratchDirectory(t));
  const request = exportRequest(exporter, 1);
  for (const path of [
    { initiatorWwpn: '../../etc', targetWwpn: initiatorWwpn, lun: 0 },
    { initiatorWwpn, targetWwpn: initiatorWwpn, lun: -1 },
  ]) {
    const result = await exporter.export({ ...request, paths: [path] }, '/volumes/a.1.img');
    t.like(result, { ok: false, problem: { code: 'invalid-request' } });
  }
});

test.serial('links without the log that tells whose they are keep the exporter from opening', async (t) => {
  const dataDirectory = await scratchDirectory(t);
  const before = await openExporter(t, dataDirectory);
  await before.export(exportRequest(before, 1), '/volumes/a.1.img');
  await before.close();
  await rm(join(dataDirectory, 'exports.log'));
  t.like(await t.throwsAsync(LocalExporter.open({ dataDirectory, seed: 'test' })), { code: 'data-damaged' });
});

test.serial('the target port is NAA 2 and stays the same when the machine-id changes', async (t) => {
  const dataDirectory = await scratchDirectory(t);
  const machineIdPath = join(dataDirectory, 'machine-id');
  const ports: (string | undefined)[] = [];
  for (const machineId of ['0123456789abcdef', 'another']) {
    await writeFile(machineIdPath, `${machineId}\n`);
    const exporter = await LocalExporter.open({ dataDirectory, machineIdPath });
    ports.push(exporter.targetPorts[0]?.wwpn);
    await exporter.close();
  }
  t.regex(ports[0] ?? '', /^2[0-9a-f]:/);
  t.is(ports[1], ports[0]);
});
