/**
 * The configuration as the program sees it: read once, complete, frozen, each alternative with exactly what it needs.
 * Nobody else reads the environment or the file.
 */
import { normalize } from 'node:path';
import { formatByteCount, leastBytesOf, wholeSectors } from '../domain/byte-count.ts';
import { Failure } from '../domain/errors.ts';
import type { FilesystemType } from '../domain/volume.ts';
import type { dockerRemovals, dockerScopes, SettingKey, SettingValues } from './settings.ts';
import { isLoopback, type ListenAddress } from './values.ts';

export interface Config {
  readonly dataDir: string;
  /** The admin token of the first start, readable by its owner only. */
  readonly adminTokenFile: string;
  readonly listen: ListenAddress;
  readonly controllerSocket: string;
  readonly agentSocket: string;
  readonly store:
    | { readonly kind: 'sqlite'; readonly file: string }
    | { readonly kind: 'postgres'; readonly url: string };
  readonly queue: { readonly kind: 'in-process' } | { readonly kind: 'bullmq'; readonly redisUrl: string };
  readonly metrics: boolean;
  /** Most batches that are journaled, or committed, together. */
  readonly groupBatches: number;
  readonly defaultFlowAction: 'permit' | 'deny';
  readonly host: {
    readonly mode: 'auto' | 'linux' | 'simulated';
    readonly name: string;
    readonly silenceMs: number;
    readonly exportsDirectory: string;
    readonly volumesDirectory: string;
  };
  readonly agent: {
    readonly controllerTimeoutMs: number;
    /** Null: its metrics are on its socket alone. */
    readonly metricsListen: ListenAddress | null;
  };
  readonly storageNode: {
    readonly kind: 'file' | 'simulated';
    readonly name: string;
    readonly allocation: 'sparse' | 'full';
    readonly reservePercent: number;
  };
  /** Null: none is made. */
  readonly defaultPool: DefaultPool | null;
  readonly tls: TlsFiles | null;
  readonly log: LogConfig;
  readonly reconcile: {
    readonly recoveryMs: number;
    readonly poolsMs: number;
    readonly wipeMs: number;
    readonly exportsMs: number;
    readonly attachmentsMs: number;
    readonly hostsMs: number;
    readonly retentionMs: number;
  };
  readonly retention: { readonly operationsMs: number; readonly eventsMs: number };
  readonly docker: DockerConfig;
  /** Where clients connect; null: the socket of this machine's controller. */
  readonly client: {
    /** A URL, or the path of a unix socket. */
    readonly server: string | null;
    readonly serverCaFile: string | null;
    readonly token: string | null;
    readonly tokenFile: string | null;
    /** Null: each verb has its own. */
    readonly requestTimeoutMs: number | null;
  };
}

export interface DockerConfig {
  /** Null: no plugin there. `required`: somebody named the place, so it must be had. */
  readonly socket: { readonly path: string; readonly required: boolean } | null;
  /** Null: podman comes in where all do. */
  readonly podmanSocketPath: string | null;
  readonly listen: ListenAddress | null;
  readonly specFile: string | null;
  /** Null: the plugin shows the agent's own token. */
  readonly tokenFile: string | null;
  readonly scope: (typeof dockerScopes)[number];
  readonly removes: (typeof dockerRemovals)[number];
}

export interface DefaultPool {
  readonly name: string;
  readonly volumeSizeBytes: number;
  readonly minFree: number;
  readonly maxVolumes: number;
  readonly filesystem: FilesystemType;
}

export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly clientCaFile: string | null;
}

export interface LogConfig {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
  readonly format: 'auto' | 'json' | 'human';
}

/** Throws `invalid-configuration` where one setting needs or contradicts another. */
export function configOf(values: SettingValues): Config {
  const { dataDir } = values;
  return deepFreeze({
    dataDir,
    adminTokenFile: `${dataDir}/admin.token`,
    listen: values.listen,
    ...ownSocketsOf(values),
    store: storeOf(values),
    queue: queueOf(values),
    metrics: values.metrics,
    groupBatches: values.groupBatches,
    defaultFlowAction: values.defaultFlowAction,
    host: {
      mode: values['host.mode'],
      name: values['host.name'],
      silenceMs: values['host.silence'],
      exportsDirectory: values['host.exportsDirectory'],
      volumesDirectory: values['host.volumesDirectory'],
    },
    agent: { controllerTimeoutMs: values['agent.controllerTimeout'], metricsListen: values['agent.metricsListen'] },
    storageNode: {
      kind: values['storageNode.kind'],
      name: values['storageNode.name'],
      allocation: values['storageNode.allocation'],
      reservePercent: values['storageNode.reservePercent'],
    },
    defaultPool: defaultPoolOf(values),
    tls: tlsOf(values),
    log: { level: values['log.level'], format: values['log.format'] },
    reconcile: reconcileOf(values),
    retention: { operationsMs: values['retention.operations'], eventsMs: values['retention.events'] },
    docker: dockerOf(values),
    client: {
      server: values.server,
      serverCaFile: values.serverCa,
      token: values.token,
      tokenFile: values.tokenFile,
      requestTimeoutMs: values.requestTimeout,
    },
  });
}

function storeOf(values: SettingValues): Config['store'] {
  if (values.store === 'sqlite') return { kind: 'sqlite', file: `${values.dataDir}/store.sqlite` };
  return { kind: 'postgres', url: needed(values, 'postgresUrl', 'store is postgres') };
}

function queueOf(values: SettingValues): Config['queue'] {
  if (values.queue === 'in-process') return { kind: 'in-process' };
  return { kind: 'bullmq', redisUrl: needed(values, 'redisUrl', 'queue is bullmq') };
}

function defaultPoolOf(values: SettingValues): DefaultPool | null {
  if (!values['defaultPool.create']) return null;
  const [minFree, maxVolumes] = [values['defaultPool.minFree'], values['defaultPool.maxVolumes']];
  if (minFree > maxVolumes) {
    throw contradiction(`defaultPool.minFree (${minFree}) is above defaultPool.maxVolumes (${maxVolumes})`);
  }
  const filesystem = values['defaultPool.filesystem'];
  const [size, least] = [values['defaultPool.volumeSize'], leastBytesOf(filesystem)];
  if (size < least) {
    const accepted = `at least ${formatByteCount(least)} with defaultPool.filesystem ${filesystem}`;
    throw contradiction(`defaultPool.volumeSize is ${formatByteCount(size)}; accepted: ${accepted}`);
  }
  const volumeSizeBytes = wholeSectors(size);
  return { name: values['defaultPool.name'], volumeSizeBytes, minFree, maxVolumes, filesystem };
}

function tlsOf(values: SettingValues): TlsFiles | null {
  const { 'tls.cert': cert, 'tls.key': key, 'tls.clientCa': clientCaFile } = values;
  if (cert === null && key === null && clientCaFile === null) return null;
  const why = 'TLS is configured';
  return { certFile: needed(values, 'tls.cert', why), keyFile: needed(values, 'tls.key', why), clientCaFile };
}

function reconcileOf(values: SettingValues): Config['reconcile'] {
  return {
    recoveryMs: values['reconcile.recovery'],
    poolsMs: values['reconcile.pools'],
    wipeMs: values['reconcile.wipe'],
    exportsMs: values['reconcile.exports'],
    attachmentsMs: values['reconcile.attachments'],
    hostsMs: values['reconcile.hosts'],
    retentionMs: values['reconcile.retention'],
  };
}

const rootSocketDirectory = '/run/fc-redirect';
const pluginDirectory = '/run/docker/plugins';
const defaultDockerSocket = `${pluginDirectory}/fc.sock`;

/** An instance whose sockets are elsewhere is a second one, or a user's own: it leaves the machine's plugin alone. */
function dockerOf(values: SettingValues): DockerConfig {
  const { 'docker.socket': stated, 'docker.listen': listen, 'docker.spec': specFile } = values;
  if (listen !== null && !isLoopback(listen.host)) {
    throw contradiction(
      `docker.listen is ${listen.host}; loopback only is accepted, because the plugin asks nobody who they are`,
    );
  }
  if (specFile !== null && listen === null) throw contradiction('docker.spec needs docker.listen');
  const isDefault = stated === 'auto' && values.socketDirectory === rootSocketDirectory;
  const path = isDefault ? defaultDockerSocket : stated;
  const socket = path === 'auto' || path === 'off' ? null : { path, required: !isDefault };
  const { 'docker.tokenFile': tokenFile, 'docker.scope': scope, 'docker.removes': removes } = values;
  return { socket, podmanSocketPath: podmanSocketOf(values, path), listen, specFile, tokenFile, scope, removes };
}

function podmanSocketOf(values: SettingValues, enginesPath: string): string | null {
  const { 'docker.podmanSocket': path, 'docker.removes': removes } = values;
  if (path === null) return null;
  if (removes !== 'own')
    throw contradiction('docker.podmanSocket needs docker.removes: own; with any, it changes nothing');
  const place = placeOf(path);
  // Docker looks for <name>.sock and for <name>/<name>.sock.
  if (place === placeOf(enginesPath) || place.startsWith(`${pluginDirectory}/`)) {
    const accepted = `any other directory is accepted that is not below ${pluginDirectory}`;
    throw contradiction(`docker.podmanSocket is ${path}, where Docker finds it as well; ${accepted}`);
  }
  const own = Object.values(ownSocketsOf(values));
  if (own.some((each) => placeOf(each) === place)) {
    const accepted = `any path but ${own.join(' and ')} is accepted`;
    throw contradiction(`docker.podmanSocket is ${path}, which is FC-Redirect's own socket; ${accepted}`);
  }
  return path;
}

function ownSocketsOf({ socketDirectory }: SettingValues): Pick<Config, 'controllerSocket' | 'agentSocket'> {
  return { controllerSocket: `${socketDirectory}/controller.sock`, agentSocket: `${socketDirectory}/agent.sock` };
}

/** `/var/run` is `/run` by another name. */
function placeOf(path: string): string {
  return normalize(path).replace(/^\/var\/run\//, '/run/');
}

type OptionalText = { [K in SettingKey]: SettingValues[K] extends string | null ? K : never }[SettingKey];

function needed(values: SettingValues, key: OptionalText, why: string): string {
  const value = values[key];
  if (value === null) throw contradiction(`${key} must be set, because ${why}`);
  return value;
}

function contradiction(why: string): Failure {
  return new Failure('invalid-configuration', `${why}.`);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(deepFreeze);
  return value;
}
