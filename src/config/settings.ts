/**
 * Every setting of the product in one table. The key is its path in `fcr.yaml`; its environment variable and its flag
 * follow from the key (`defaultPool.minFree`: FCR_DEFAULT_POOL_MIN_FREE, --default-pool-min-free).
 */
import { filesystemTypes } from '../domain/volume.ts';
import { limits } from './limits.ts';
import {
  absolutePath,
  duration,
  flag,
  integer,
  listenAddress,
  name,
  oneOf,
  oneOfOr,
  type Parser,
  serverAddress,
  size,
  text,
  url,
} from './values.ts';

/** What a default may depend on: where and as whom the program runs, and the data directory once it is known. */
export interface Surroundings {
  readonly isRoot: boolean;
  readonly home: string;
  readonly hostName: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export interface Setting<T> {
  readonly about: string;
  readonly parse: Parser<T>;
  /** As if it had been stated; null is "not set". `dataDir` is that setting's value. */
  readonly defaultOf: (surroundings: Surroundings, dataDir: string) => unknown;
  readonly secret: boolean;
}

function setting<T>(about: string, parse: Parser<T>, defaultOf: unknown): Setting<T> {
  return {
    about,
    parse,
    defaultOf: typeof defaultOf === 'function' ? callable(defaultOf) : () => defaultOf,
    secret: false,
  };
}

/** Without a default: its value is null when nobody states it. */
function optional<T>(about: string, parse: Parser<T>): Setting<T | null> {
  return { about, parse, defaultOf: () => null, secret: false };
}

function secret<T>(about: string, parse: Parser<T>): Setting<T | null> {
  return { ...optional(about, parse), secret: true };
}

function callable(value: unknown): Setting<unknown>['defaultOf'] {
  return (surroundings, dataDir) => (typeof value === 'function' ? value(surroundings, dataDir) : value);
}

export const dockerScopes = ['auto', 'local', 'global'] as const;
export const dockerRemovals = ['any', 'own'] as const;

const second = 1_000;
const hour = 3_600 * second;
const day = 24 * hour;
const minute = 60 * second;
const interval = duration(100, hour);
const age = duration(second, 3_650 * day);

export const settings = {
  dataDir: setting('where everything durable is kept', absolutePath, defaultDataDirectory),
  listen: setting('address and port of the REST API', listenAddress, '127.0.0.1:8080'),
  socketDirectory: setting('where controller.sock and agent.sock are', absolutePath, defaultSocketDirectory),
  store: setting('where the truth is kept', oneOf('sqlite', 'postgres'), 'sqlite'),
  postgresUrl: secret('the database, with store postgres', url('postgres:', 'postgresql:')),
  queue: setting('how workers are woken', oneOf('in-process', 'bullmq'), 'in-process'),
  redisUrl: secret('the Redis, with queue bullmq', url('redis:', 'rediss:', 'unix:')),
  groupBatches: setting('most batches committed together', integer(1, limits.groupBatches), limits.groupBatches),
  metrics: setting('whether /metrics is served', flag, true),
  defaultFlowAction: setting('what happens to a flow that no policy names', oneOf('permit', 'deny'), 'permit'),
  'host.mode': setting('how devices are made; auto probes the machine', oneOf('auto', 'linux', 'simulated'), 'auto'),
  'host.name': setting('the name of this machine as a host', name, (at: Surroundings) => hostNameOf(at)),
  'host.silence': setting('how long a host may be silent before it is offline', duration(second, day), '60s'),
  'host.exportsDirectory': setting(
    'where the storage node of this machine keeps its exports',
    absolutePath,
    (_: Surroundings, dataDir: string) => `${dataDir}/exports`,
  ),
  'host.volumesDirectory': setting(
    'where it keeps the volumes, at the path that the exports lead to',
    absolutePath,
    (_: Surroundings, dataDir: string) => `${dataDir}/volumes`,
  ),
  'storageNode.kind': setting('what keeps the bytes', oneOf('file', 'simulated'), 'file'),
  'storageNode.name': setting('the name of this storage node', name, (at: Surroundings) => hostNameOf(at)),
  'storageNode.allocation': setting('whether space is taken on write or at once', oneOf('sparse', 'full'), 'sparse'),
  'storageNode.reservePercent': setting('space kept free, so that volumes never starve the store', integer(0, 90), 5),
  'defaultPool.create': setting('whether a pool is made at first start', flag, true),
  'defaultPool.name': setting('its name', name, 'default'),
  'defaultPool.volumeSize': setting(
    'the size of its volumes, at least 16MiB, with xfs 300MiB',
    size(limits.volumeBytesMin, limits.volumeBytesMax),
    '1GiB',
  ),
  'defaultPool.minFree': setting('how many free volumes it keeps', integer(0, limits.poolVolumes), 4),
  'defaultPool.maxVolumes': setting('how many volumes it has at most', integer(1, limits.poolVolumes), 100),
  'defaultPool.filesystem': setting('what its volumes are formatted with', oneOf(...filesystemTypes), 'ext4'),
  'tls.cert': optional('the certificate of the REST API (PEM)', absolutePath),
  'tls.key': optional('its key (PEM)', absolutePath),
  'tls.clientCa': optional('whose client certificates are asked for (PEM)', absolutePath),
  'log.level': setting('the least that is logged', oneOf('trace', 'debug', 'info', 'warn', 'error', 'silent'), 'info'),
  'log.format': setting('auto: human on a terminal, else json', oneOf('auto', 'json', 'human'), 'auto'),
  'reconcile.recovery': setting('how often waiting operations are looked for', interval, '2s'),
  'reconcile.pools': setting('how often pools are refilled without a nudge', interval, '5s'),
  'reconcile.wipe': setting('how often returned volumes are wiped without a nudge', interval, '5s'),
  'reconcile.exports': setting('how often exports are compared with the store', interval, '60s'),
  'reconcile.attachments': setting('how often a host compares its devices', interval, '30s'),
  'reconcile.hosts': setting('how often silent hosts are looked for', interval, '10s'),
  'reconcile.retention': setting('how often old rows are removed', interval, '10m'),
  'retention.operations': setting('how long ended operations are kept', age, '7d'),
  'retention.events': setting('how long events can be resumed', age, '24h'),
  'docker.socket': setting(
    'the Docker volume plugin; auto: the default place, beside sockets that are in theirs',
    oneOfOr(absolutePath, 'auto', 'off'),
    'auto',
  ),
  'docker.listen': optional('the plugin over TCP as well, on loopback only; port 0: any', listenAddress),
  'docker.spec': optional('where the file is written that tells engines the TCP form', absolutePath),
  'docker.tokenFile': optional('a token of role operator, for volumes that engines make and remove', absolutePath),
  'docker.scope': setting(
    'what engines are told; auto: global with a shared controller',
    oneOf(...dockerScopes),
    'auto',
  ),
  'docker.podmanSocket': optional(
    'with docker.removes own: a socket for podman alone, so that it and Docker remove what each has made itself',
    absolutePath,
  ),
  'docker.removes': setting(
    'which volumes engines remove; own: those that engines have made under this setting',
    oneOf(...dockerRemovals),
    'any',
  ),
  'agent.controllerTimeout': setting(
    'how long an agent waits for a silent controller',
    duration(2 * second, minute),
    // podman gives a plugin up after 5 s, and says nothing of why.
    '4s',
  ),
  'agent.metricsListen': optional('address and port of the /metrics of an agent, without a token', listenAddress),
  server: optional('the controller that clients and agents talk to: a URL or a unix socket', serverAddress),
  serverCa: optional('whose certificate that controller must show (PEM)', absolutePath),
  token: secret('the bearer token that clients show', text),
  tokenFile: optional('a file that holds that token', absolutePath),
  requestTimeout: optional(
    'how long a verb waits for an answer; unset: 15s to read, 60s to change something, 180s to mount',
    duration(second, hour),
  ),
};

export type SettingKey = keyof typeof settings;
export type SettingValues = {
  readonly [K in SettingKey]: (typeof settings)[K] extends Setting<infer T> ? T : never;
};

export function isSettingKey(key: string): key is SettingKey {
  return Object.hasOwn(settings, key);
}

export const settingKeys: readonly SettingKey[] = Object.keys(settings).filter(isSettingKey);

export function environmentVariableOf(key: SettingKey): string {
  return `FCR_${words(key).join('_').toUpperCase()}`;
}

export function flagOf(key: SettingKey): string {
  return `--${words(key).join('-')}`;
}

function words(key: string): string[] {
  return key
    .split('.')
    .flatMap((part) => part.split(/(?=[A-Z])/))
    .map((word) => word.toLowerCase());
}

function defaultDataDirectory(at: Surroundings): string {
  if (at.isRoot) return '/var/lib/fc-redirect';
  const dataHome = at.environment.XDG_DATA_HOME ?? '';
  return `${dataHome.startsWith('/') ? dataHome : `${at.home}/.local/share`}/fc-redirect`;
}

function defaultSocketDirectory(at: Surroundings, dataDir: string): string {
  return at.isRoot ? '/run/fc-redirect' : dataDir;
}

function hostNameOf(at: Surroundings): string {
  const usable = at.hostName.replaceAll(/[^A-Za-z0-9._-]/g, '-').replace(/^[^A-Za-z0-9]+/, '');
  return usable === '' ? 'localhost' : usable.slice(0, limits.nameLength);
}
