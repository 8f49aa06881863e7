import { fileURLToPath } from 'node:url';
import test from 'ava';
import { discoverPorts, readIdentity } from '../../src/host/linux/identity.ts';

function fixture(name: string): string {
  return fileURLToPath(new URL(`../support/fixtures/${name}`, import.meta.url));
}

test('real ports are found with their state, and an unreadable one is shown as such', async (t) => {
  const ports = await discoverPorts(fixture('sysfs-fc'));
  t.like(ports.at(-1), { fabric: 'local', state: 'online', synthesized: true });
  t.deepEqual(ports.slice(0, -1), [
    { wwpn: '20:00:02:00:00:00:00:a0', fabric: 'point-to-point', state: 'online', synthesized: false },
    { wwpn: '20:00:02:00:00:00:00:b0', fabric: 'point-to-point', state: 'offline', synthesized: false },
    { wwpn: '21:00:00:24:ff:0a:0b:0c', fabric: '10:00:88:94:71:d3:c0:00', state: 'online', synthesized: false },
    { wwpn: '21:00:00:24:ff:0a:0b:0d', fabric: 'point-to-point', state: 'unreadable', synthesized: false },
  ]);
});

test('without Fibre Channel the port is named over the first interface with hardware', async (t) => {
  t.deepEqual(await discoverPorts(fixture('sysfs-no-fc')), [
    { wwpn: '20:00:02:fc:00:00:00:01', fabric: 'local', state: 'online', synthesized: true },
  ]);
});

test('without any hardware address the port is named over the machine-id, the same each time', async (t) => {
  const [ports, again] = [
    await discoverPorts(fixture('sysfs-no-hardware')),
    await discoverPorts(fixture('sysfs-no-hardware')),
  ];
  t.is(ports.length, 1);
  t.like(ports[0], { fabric: 'local', state: 'online', synthesized: true });
  t.regex(ports[0]?.wwpn ?? '', /^2/);
  t.deepEqual(again, ports);
});

test('machine-id and boot id tell which machine and which start of it this is', async (t) => {
  t.deepEqual(await readIdentity(fixture('sysfs-fc')), {
    machineId: '0123456789abcdef0123456789abcdef',
    bootId: '11111111-2222-3333-4444-555555555555',
  });
});
