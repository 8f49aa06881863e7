import { readFileSync } from 'node:fs';
import test from 'ava';
import { parse } from 'yaml';
import { environmentVariableOf, settingKeys } from '../../src/config/settings.ts';

interface Service {
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly networks?: readonly string[];
  readonly ports?: readonly string[];
  readonly healthcheck?: { readonly test: readonly unknown[] };
}

interface Compose {
  readonly version: string;
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly networks: Readonly<Record<string, unknown>>;
}

const compose: Compose = parse(readText('docker-compose.yml'), { merge: true });
const services = Object.values(compose.services);

function readText(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
}

function optionOf(service: string, name: string): string | undefined {
  const command = compose.services[service]?.command ?? [];
  return command[command.indexOf(name) + 1];
}

for (const service of ['controller', 'worker']) {
  test(`the ${service} of the compose file is configured by settings that exist`, (t) => {
    const ofPostgresClients = 'PGPASSWORD';
    const known = [...settingKeys.map(environmentVariableOf), ofPostgresClients];
    const stated = Object.keys(compose.services[service]?.environment ?? {});
    t.deepEqual(
      stated.filter((name) => !known.includes(name)),
      [],
    );
    t.true(stated.includes('FCR_POSTGRES_URL') && stated.includes('FCR_REDIS_URL'));
  });
}

test('requests are taken in by one service and carried out by another, at one place inside and outside', (t) => {
  const { controller, worker } = compose.services;
  t.deepEqual(controller?.command, ['controller', '--no-worker']);
  t.deepEqual(worker?.command, ['controller', '--worker-only']);
  const place = worker?.environment?.FCR_DATA_DIR ?? '';
  t.deepEqual(worker?.volumes, [`${place}:${place}:rslave`]);
});

test('the Redis of the compose file keeps a log and never evicts', (t) => {
  t.is(optionOf('redis', '--maxmemory-policy'), 'noeviction');
  t.is(optionOf('redis', '--appendonly'), 'yes');
});

test('the PostgreSQL of the compose file is durable', (t) => {
  const command = compose.services.postgres?.command ?? [];
  for (const setting of ['fsync=on', 'full_page_writes=on', 'synchronous_commit=on']) t.true(command.includes(setting));
});

test('what the compose file refers to, it declares, and only loopback is published', (t) => {
  t.is(compose.version, '3.8');
  const volumes = services.flatMap((service) => service.volumes ?? []).map((mount) => mount.split(':')[0] ?? '');
  for (const volume of volumes.filter((name) => !/^[./$]/.test(name))) t.true(volume in compose.volumes, volume);
  for (const network of services.flatMap((service) => service.networks ?? [])) {
    t.true(network in compose.networks, network);
  }
  for (const port of services.flatMap((service) => service.ports ?? [])) t.regex(port, /^127\.0\.0\.1:/);
  for (const { healthcheck } of services) t.true(healthcheck?.test.every((word) => typeof word === 'string'));
});

test('the image has what the program consists of, and its base is a choice', (t) => {
  const dockerfile = readText('Dockerfile');
  const allowed = readText('.dockerignore').split('\n');
  t.regex(dockerfile, /^ARG BASE_IMAGE=\S+\nFROM \$\{BASE_IMAGE\}$/m);
  const copied = [...dockerfile.matchAll(/^COPY (.*) \S+$/gm)].flatMap(([, sources = '']) => sources.split(' '));
  for (const source of copied) t.true(allowed.includes(`!${source}`), source);
  for (const part of ['fcr', 'src', 'native-bindings', 'migrations', 'openapi']) t.true(copied.includes(part), part);
});
