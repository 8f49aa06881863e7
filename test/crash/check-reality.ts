/** The store against files, links, loop devices and mounts: each has its counterpart, by identity, and nothing is left. */

import { statSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Findings } from './findings.ts';
import type { Service } from './service.ts';
import type { StoreImage } from './store-image.ts';
import { linksBelow, listOrEmpty, loopDevicesOn, mountsOf, ownNamespace } from './world.ts';

type Attachment = StoreImage['attachments'][number];

export function checkReality(
  findings: Findings,
  service: Service,
  store: StoreImage,
  shown: ReadonlyMap<string, readonly string[]>,
): void {
  checkFiles(findings, service, store);
  checkExports(findings, service, store);
  checkDevices(findings, service, store, shown);
}

export function mediumName(row: { readonly id: string; readonly media_generation: number }): string {
  return `${row.id}.${row.media_generation}.img`;
}

function checkFiles(findings: Findings, service: Service, { volumes }: StoreImage): void {
  const files = listOrEmpty(service.volumesDirectory).filter((name) => name !== 'locks');
  findings.expectSame('files-differ', files, volumes.map(mediumName));
  for (const row of volumes.filter((each) => files.includes(mediumName(each)))) {
    const { size } = statSync(join(service.volumesDirectory, mediumName(row)));
    findings.expect(
      size === row.size_bytes,
      'size-differs',
      () => `${row.id} has ${size} bytes, not ${row.size_bytes}`,
    );
  }
  const ids = new Set(volumes.map(({ id }) => `${id}.lock`));
  const left = listOrEmpty(join(service.volumesDirectory, 'locks')).filter((name) => !ids.has(name));
  findings.expect(left.length === 0, 'locks-left', () => left.join(' '));
}

interface Path {
  readonly initiatorWwpn: string;
  readonly targetWwpn: string;
  readonly lun: number;
}

function checkExports(findings: Findings, service: Service, { attachments, luns }: StoreImage): void {
  const paths = attachments.flatMap((row) =>
    (JSON.parse(row.paths) as Path[]).map((path) => ({
      ...path,
      row,
      name: `${path.targetWwpn}/${path.initiatorWwpn}/${path.lun}`,
    })),
  );
  const wanted = paths.map(({ name, row }) => `${name}=${row.volume_id}.${row.media_generation}.img`);
  const links = [...linksBelow(join(service.dataDirectory, 'exports'))];
  findings.expectSame(
    'exports-differ',
    links.map(([name, file]) => `${name}=${basename(file)}`),
    wanted,
  );
  for (const [name, file] of links) {
    const isOurs = file.startsWith(`${service.volumesDirectory}/`);
    findings.expect(isOurs, 'exports-differ', () => `${name} leads to ${file}`);
  }
  const taken = luns.map((lun) => `${lun.target_wwpn}/${lun.initiator_wwpn}/${lun.lun}=${lun.attachment}`);
  findings.expectSame(
    'luns-differ',
    taken,
    paths.map(({ name, row }) => `${name}=${row.id}`),
  );
  findings.expectUnique(
    'luns-repeated',
    paths.map(({ name }) => name),
  );
}

/** `shown`: where this machine's users see a volume, by volume id. */
function checkDevices(
  findings: Findings,
  service: Service,
  { attachments }: StoreImage,
  shown: ReadonlyMap<string, readonly string[]>,
): void {
  const here = attachments.filter(({ host }) => host === service.hostName);
  const loops = loopDevicesOn(service.dataDirectory);
  const fileOf = (row: Attachment) => join(service.volumesDirectory, `${row.volume_id}.${row.media_generation}.img`);
  const found = loops.map(({ file, deleted }) => (deleted ? `${file} (deleted)` : file));
  findings.expectSame('loop-devices-differ', found, here.map(fileOf));

  const numbers = new Map(loops.map(({ number, file }) => [file, `7:${number}`]));
  const mounts = mountsOf(new Set(numbers.values())).filter(({ namespace }) => namespace === ownNamespace());
  const wanted = here.flatMap((row) => {
    const device = numbers.get(fileOf(row)) ?? 'none';
    const paths = shown.get(row.volume_id) ?? [];
    const base = `${device} ${join(service.dataDirectory, 'host', 'mnt', row.id)}`;
    return [base, ...paths.map((path) => `${device} ${path}`)];
  });
  findings.expectSame(
    'mounts-differ',
    mounts.map(({ device, path }) => `${device} ${path}`),
    wanted,
  );
  checkLeftovers(findings, service, here);
}

function checkLeftovers(findings: Findings, service: Service, here: readonly Attachment[]): void {
  const bases = listOrEmpty(join(service.dataDirectory, 'host', 'mnt'));
  findings.expectSame(
    'mount-points-left',
    bases,
    here.map(({ id }) => id),
  );
  const helpers = service.helpers();
  findings.expect(helpers.length === 0, 'processes-left', () => helpers.join('; '));
}
