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
}

interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly networks: Readonly<Record<string, unknown>>;
}

const compose: Compose = parse(readFileSync(new URL('../../docker-compose.yml', import.meta.url), 'utf8'));
const services = Object.values(compose.services);

test('the controller of the compose file is configured by settings that exist', (t) => {
  const known = settingKeys.map(environmentVariableOf);
  const stated = Object.keys(compose.services.controller?.environment ?? {});
  t.deepEqual(
    stated.filter((name) => !known.includes(name)),
    [],
  );
  t.true(stated.includes('FCR_POSTGRES_URL') && stated.includes('FCR_REDIS_URL'));
});

test('the Redis of the compose file keeps a log and never evicts', (t) => {
  const command = compose.services.redis?.command ?? [];
  t.is(command[command.indexOf('--maxmemory-policy') + 1], 'noeviction');
  t.is(command[command.indexOf('--appendonly') + 1], 'yes');
});

test('what the compose file refers to, it declares, and only loopback is published', (t) => {
  const volumes = services.flatMap((service) => service.volumes ?? []).map((mount) => mount.split(':')[0] ?? '');
  for (const volume of volumes.filter((name) => !/^[./]/.test(name))) t.true(volume in compose.volumes, volume);
  for (const network of services.flatMap((service) => service.networks ?? [])) {
    t.true(network in compose.networks, network);
  }
  for (const port of services.flatMap((service) => service.ports ?? [])) t.regex(port, /^127\.0\.0\.1:/);
});
