/** One store and one Redis under several processes: API replicas that take requests in, and a worker that carries them out. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { Failure } from '../../src/domain/errors.ts';
import { ControllerClient } from '../../src/http/client.ts';
import { ClientTransport } from '../../src/http/client-transport.ts';
import { ProcessAgent } from '../support/controlled-machine.ts';
import { until } from '../support/daemon.ts';
import { FcrProcess } from '../support/fcr-process.ts';
import { isSkipped, testOf } from '../support/groups.ts';
import { type Database, PostgresServer } from '../support/postgres.ts';
import { RedisServer } from '../support/redis.ts';

const group = isSkipped('redis') ? 'redis' : 'postgres';
// Each has several processes, and the machine few cores.
const test = testOf(group).serial;

/** A process of the split, with a directory of its own. */
class Half {
  readonly process: FcrProcess;
  readonly client: ControllerClient;
  readonly directory: string;

  constructor(directory: string, words: readonly string[], settings: Readonly<Record<string, string>>) {
    this.directory = directory;
    mkdirSync(directory);
    this.client = new ControllerClient({ endpoint: { socketPath: join(directory, 'controller.sock') } });
    const own = { DATA_DIR: join(directory, 'data'), SOCKET_DIRECTORY: directory, LISTEN: '127.0.0.1:0' };
    this.process = new FcrProcess({ directory, words: ['controller', ...words], settings: { ...settings, ...own } });
  }

  start(): Promise<void> {
    return this.process.start(() => this.client.readiness());
  }

  async end(): Promise<void> {
    this.client.close();
    await this.process.kill();
  }
}

class Split {
  readonly #directory = mkdtempSync(join(tmpdir(), 'fcr-split-'));
  readonly #halves: Half[] = [];
  readonly #settings: Readonly<Record<string, string>>;

  /** One statement in their database. */
  readonly sql: (text: string) => Promise<unknown>;

  private constructor(postgres: PostgresServer, database: Database, redis: RedisServer) {
    this.sql = (text) => postgres.query(text, database.name);
    this.#settings = {
      STORE: 'postgres',
      POSTGRES_URL: database.url,
      QUEUE: 'bullmq',
      REDIS_URL: redis.url,
      STORAGE_NODE_KIND: 'simulated',
      LOG_LEVEL: 'warn',
    };
  }

  static async open(t: ExecutionContext): Promise<Split> {
    const [postgres, redis] = await Promise.all([PostgresServer.start(), RedisServer.start()]);
    const split = new Split(postgres, await postgres.createDatabase(), redis);
    t.teardown(async () => {
      for (const half of split.#halves) await half.end();
      rmSync(split.#directory, { recursive: true, force: true });
      await Promise.all([postgres.close(), redis.close()]);
    });
    return split;
  }

  /** An agent of the half, on a simulated host that follows the exports of the worker. */
  agent(half: Half, worker: Half): ProcessAgent {
    const directory = join(this.#directory, 'agent');
    mkdirSync(directory);
    const server = join(half.directory, 'controller.sock');
    const within = ['env', '--unset=FCR_TOKEN_FILE', 'FCR_HOST_MODE=simulated'];
    return new ProcessAgent({ directory, server, data: join(worker.directory, 'data'), within });
  }

  half(name: string, words: readonly string[], settings: Readonly<Record<string, string>> = {}): Half {
    const half = new Half(join(this.#directory, name), words, { ...this.#settings, ...settings });
    this.#halves.push(half);
    return half;
  }
}

const volumesOnDisk = {
  STORAGE_NODE_KIND: 'file',
  DEFAULT_POOL_VOLUME_SIZE: '64MiB',
  DEFAULT_POOL_MIN_FREE: '1',
};

test('an agent mounts through an API replica what the worker exports, and what it unmounts is free again', async (t) => {
  const split = await Split.open(t);
  const api = split.half('api', ['--no-worker'], volumesOnDisk);
  const worker = split.half('worker', ['--worker-only'], volumesOnDisk);
  await Promise.all([api.start(), worker.start()]);
  const agent = split.agent(api, worker);
  t.teardown(() => agent.end());
  await agent.start();
  await api.client.volumeCreate({ name: 'data' });
  const { id, path } = await agent.mount('data');
  writeFileSync(join(path, 'file'), 'bytes');
  const state = async () => (await api.client.attachmentPage()).items[0]?.state;
  await until(async () => (await state()) === 'attached', { what: 'the controller has heard of its device' });
  await agent.unmount(id);
  await until(async () => (await api.client.attachmentPage()).items.length === 0, { what: 'it is detached' });
  await api.client.volumeDelete('data');
  const wiped = async () => (await api.client.poolGet('default'))?.status.wiping === 0;
  await t.notThrowsAsync(until(wiped, { what: 'the worker has wiped it' }));
});

const port = { wwpn: '20:00:02:00:00:00:00:a0', fabric: 'local', state: 'online', synthesized: true } as const;
const host = { name: 'node1', machineId: 'm', bootId: 'b', simulated: true, initiatorPorts: [port] };

test('what is asked of one replica is carried out by the worker and seen at every replica', async (t) => {
  const split = await Split.open(t);
  const [one, two, worker] = [
    split.half('one', ['--no-worker']),
    split.half('two', ['--no-worker']),
    split.half('worker', ['--worker-only']),
  ];
  await Promise.all([one.start(), two.start()]);
  const waiting = one.client.batchSubmit({
    operations: [{ type: 'volume.create', params: { name: 'early', pool: 'default' } }],
  });
  await worker.start();
  t.is((await waiting).state, 'ended');
  await until(async () => (await two.client.poolGet('default'))?.status.free === 4, { what: 'the pool is filled' });
  t.is((await one.client.volumeCreate({ name: 'data' })).state, 'allocated');
  await two.client.hostRegister(host);
  const attachment = await two.client.attachmentCreate({ volume: 'data', host: 'node1' });
  t.is(attachment.state, 'exported');
  t.is((await one.client.attachmentGet(attachment.id))?.state, 'exported');
  await one.client.attachmentDelete(attachment.id);
  await two.client.volumeDelete('data');
  t.is(await one.client.volumeGet('data'), null);
});

test('a change of a pool at a replica reaches the reconcilers of the worker, not only their timers', async (t) => {
  const split = await Split.open(t);
  const api = split.half('api', ['--no-worker']);
  const worker = split.half('worker', ['--worker-only'], { RECONCILE_POOLS: '1h', DEFAULT_POOL_CREATE: 'false' });
  await Promise.all([api.start(), worker.start()]);
  await api.client.poolCreate({ name: 'fast', backend: 'file', volumeSizeBytes: '16MiB', minFree: 0, maxVolumes: 10 });
  let minFree = 0;
  const isFilled = async () => {
    // One that is sent before the worker listens is lost.
    minFree = 1 + (minFree % 3);
    const pool = await api.client.poolGet('fast');
    await api.client.poolUpdate('fast', { minFree }, pool?.version);
    return (pool?.status.free ?? 0) > 0;
  };
  await until(isFilled, { what: 'the pool is filled', everyMs: 100 });
  t.true((await api.client.volumeList({ pool: 'fast', state: 'free' })).items.length > 0);
});

test('a worker has no API but its status and its own storage node', async (t) => {
  const split = await Split.open(t);
  const worker = split.half('worker', ['--worker-only']);
  await worker.start();
  const transport = new ClientTransport({ endpoint: { socketPath: join(worker.directory, 'controller.sock') } });
  t.teardown(() => transport.close());
  for (const path of ['/healthz', '/readyz', '/metrics']) {
    t.is((await transport.call({ method: 'GET', path, repeatable: true })).status, 200);
  }
  const failure = await t.throwsAsync(worker.client.volumeList(), { instanceOf: Failure });
  t.is(failure.code, 'route-not-found');
  const [node] = (await worker.client.storageNodeList()).items;
  await worker.client.storageNodeAdopt(node?.name ?? '');
});

/** What readyz says, with its status. */
async function readiness(half: Half): Promise<{ readonly status: number; readonly text: string }> {
  const transport = new ClientTransport({ endpoint: { socketPath: join(half.directory, 'controller.sock') } });
  const answer = await transport.call({ method: 'GET', path: '/readyz', repeatable: true, alsoAnswer: 503 });
  transport.close();
  return { status: answer.status, text: JSON.stringify(answer.body) };
}

test('replicas without a worker stay in service, and say that nobody carries out what they accept', async (t) => {
  const split = await Split.open(t);
  const api = split.half('api', ['--no-worker']);
  await api.start();
  const alone = await readiness(api);
  t.is(alone.status, 200);
  t.regex(alone.text, /degraded.*No worker holds the storage-node lease/);
  t.regex(await api.client.metricsText(), /^fcr_worker_lease_held 0$/m);
  const worker = split.half('worker', ['--worker-only']);
  await worker.start();
  await until(async () => !/lease/.test((await readiness(api)).text), { what: 'the replica sees the worker' });
  t.regex(await worker.client.metricsText(), /^fcr_worker_lease_held 1$/m);
});

test('HAZARD 1: a worker whose lease another has stops and says so, and goes on once it has it again', async (t) => {
  const split = await Split.open(t);
  const api = split.half('api', ['--no-worker']);
  const worker = split.half('worker', ['--worker-only']);
  await Promise.all([api.start(), worker.start()]);
  await split.sql(`UPDATE leases SET owner = 'another', token = token + 1, until = until + 3600000`);
  const isStopped = async () => (await readiness(worker)).status === 503;
  await until(isStopped, { what: 'the worker is not ready' });
  t.regex((await readiness(worker)).text, /Another storage node works on this store/);
  t.regex(worker.process.log, /its work stops until it is held again/);
  const waiting = api.client.volumeCreate({ name: 'data' });
  await split.sql('UPDATE leases SET until = 0');
  t.is((await waiting).state, 'allocated');
  await until(async () => (await readiness(worker)).status === 200, { what: 'it is ready again' });
});

test('a killed worker is succeeded over the same data; a storage node of another directory is refused', async (t) => {
  const split = await Split.open(t);
  const worker = split.half('worker', ['--worker-only']);
  await worker.start();
  const other = split.half('other', ['--worker-only']);
  other.process.run();
  await other.process.ended();
  t.regex(other.process.log, /another data directory works on this store.*\(resource-in-use\)/);
  await worker.process.kill();
  await worker.start();
  t.pass();
});

test('a replica that comes later makes no further token', async (t) => {
  const split = await Split.open(t);
  const [one, two] = [split.half('one', ['--no-worker']), split.half('two', ['--no-worker'])];
  await one.start();
  await two.start();
  t.regex(readFileSync(join(one.directory, 'data', 'admin.token'), 'utf8'), /^fcr_/);
  t.is((await two.client.tokenList()).items.length, 1);
});

for (const flag of ['--no-worker', '--worker-only']) {
  test(`${flag} is refused on SQLite, with what it needs`, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'fcr-split-'));
    t.teardown(() => rmSync(directory, { recursive: true }));
    const settings = { DATA_DIR: directory, SOCKET_DIRECTORY: directory };
    const half = new FcrProcess({ directory, words: ['controller', flag], settings });
    half.run();
    await half.ended();
    t.regex(half.log, new RegExp(`${flag} needs store postgres .* and queue bullmq`));
  });
}
