import { setTimeout as sleep } from 'node:timers/promises';
import { PostgresServer } from '../test/support/postgres.ts';
import { RedisServer } from '../test/support/redis.ts';
import { bareTransactions } from './support/bare-transactions.ts';
import { type Bench, numberOption, type OptionValues, type Progress, textOption } from './support/bench.ts';
import type { Figures } from './support/figures.ts';
import { Latencies } from './support/latencies.ts';
import { type MixType, mixTypes, type OperationAnswer, OperationMix } from './support/operation-mix.ts';
import { Product } from './support/product.ts';
import { metricValue, RestClient } from './support/rest.ts';

interface BatchAnswer {
  readonly id: string;
  readonly state: string;
  readonly operations: readonly OperationAnswer[];
}

interface Tally {
  readonly seconds: number;
  readonly ended: number;
  readonly byType: ReadonlyMap<string, number>;
  readonly errors: number;
  readonly firstError: string | null;
  readonly lost: number;
  readonly latencies: Latencies;
}

const hosts = Array.from({ length: 8 }, (_, index) => `bench-host-${index}`);
const primed = { volumes: 6_000, attachments: 2_000, policies: 1_000 } as const;

/** Where the product keeps its truth and its queue in this run, with what has to be ended afterwards. */
interface Services {
  readonly environment: Readonly<Record<string, string>>;
  readonly postgresUrl: string | null;
  close(): Promise<void>;
}

async function startServices(options: OptionValues): Promise<Services> {
  const postgres = textOption(options, 'store') === 'postgres' ? await PostgresServer.start() : null;
  const redis = textOption(options, 'queue') === 'bullmq' ? await RedisServer.start() : null;
  const postgresUrl = postgres === null ? null : (await postgres.createDatabase()).url;
  return {
    postgresUrl,
    environment: {
      ...(postgresUrl === null ? {} : { FCR_STORE: 'postgres', FCR_POSTGRES_URL: postgresUrl }),
      ...(redis === null ? {} : { FCR_QUEUE: 'bullmq', FCR_REDIS_URL: redis.url }),
    },
    close: async () => {
      await redis?.close();
      await postgres?.close();
    },
  };
}

async function prepare(client: RestClient): Promise<void> {
  for (const [index, name] of hosts.entries()) {
    const wwpn = `20:00:00:00:00:00:01:${index.toString(16).padStart(2, '0')}`;
    await client.expect('PUT', `/v1/hosts/${name}`, {
      machineId: `machine-${index}`,
      bootId: 'boot',
      simulated: true,
      initiatorPorts: [{ wwpn, fabric: 'local', state: 'online', synthesized: true }],
    });
  }
  await client.expect('POST', '/v1/pools', {
    name: 'bench',
    backend: 'file',
    volumeSizeBytes: 1024 ** 3,
    minFree: 20_000,
    maxVolumes: 2_000_000,
    filesystem: 'ext4',
  });
  await untilFree(client, 20_000);
}

async function untilFree(client: RestClient, wanted: number): Promise<void> {
  for (;;) {
    const pool = await client.expect<{ status: { free: number } }>('GET', '/v1/pools/bench');
    if (pool.status.free >= wanted) return;
    await sleep(100);
  }
}

async function prime(client: RestClient, mix: OperationMix): Promise<void> {
  const send = async (type: MixType, count: number) => {
    for (let left = count; left > 0; left -= 500) {
      const operations = mix.only(type, Math.min(500, left));
      mix.learn(operations, await submit(client, operations));
    }
  };
  await send('volume.create', primed.volumes);
  await send('volume.attach', primed.attachments);
  await send('flow-policy.create', primed.policies);
}

async function submit(client: RestClient, operations: readonly object[]): Promise<readonly OperationAnswer[]> {
  const { body, status } = await client.json<BatchAnswer>('POST', '/v1/operation-batches', {
    atomicity: 'per-operation',
    operations,
  });
  if (status !== 200 && status !== 201 && status !== 202) throw new Error(`${status} ${JSON.stringify(body)}`);
  if (body.state === 'ended') return body.operations;
  return untilEnded(client, body.id);
}

async function untilEnded(client: RestClient, id: string): Promise<readonly OperationAnswer[]> {
  const deadline = performance.now() + 60_000;
  while (performance.now() < deadline) {
    const batch = await client.expect<BatchAnswer>('GET', `/v1/operation-batches/${id}`);
    if (batch.state === 'ended') return batch.operations;
    await sleep(50);
  }
  return [];
}

/** Runs `clients` that each send one request after the other until the time is over. */
async function load(
  client: RestClient,
  mix: OperationMix,
  { clients, seconds, bulk }: { readonly clients: number; readonly seconds: number; readonly bulk: number },
): Promise<Tally> {
  const latencies = new Latencies();
  const byType = new Map<string, number>();
  let [ended, errors, lost] = [0, 0, 0];
  let firstError: string | null = null;
  const began = performance.now();
  const until = began + seconds * 1_000;
  const one = async () => {
    while (performance.now() < until) {
      const operations = bulk === 1 ? [mix.single()] : mix.request(bulk);
      const answers = await latencies.time(() => submit(client, operations));
      mix.learn(operations, answers);
      lost += operations.length - answers.length;
      for (const { type, state, problem } of answers) {
        ended += 1;
        byType.set(type, (byType.get(type) ?? 0) + 1);
        if (state === 'succeeded') continue;
        errors += 1;
        firstError ??= `${type}: ${problem?.code} ${problem?.detail}`;
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, one));
  return { seconds: (performance.now() - began) / 1_000, ended, byType, errors, firstError, lost, latencies };
}

interface Run {
  readonly tally: Tally;
  readonly rowsPerOperation: number;
  readonly groupOperations: number;
  readonly wipeBacklog: number;
  readonly commitsPerSecond: number;
}

async function measure(
  services: Services,
  options: { clients: number; seconds: number; bulk: number; groupBatches?: number },
): Promise<Run> {
  const environment = {
    ...services.environment,
    ...(options.groupBatches === undefined ? {} : { FCR_GROUP_BATCHES: String(options.groupBatches) }),
  };
  const product = await Product.start({ environment });
  const client = new RestClient(product.socketPath, options.clients + 1);
  try {
    await prepare(client);
    const mix = new OperationMix({ hosts, pool: 'bench', prefix: `b${process.pid}` });
    await prime(client, mix);
    await load(client, mix, { ...options, seconds: Math.min(3, options.seconds / 5) });
    const before = await client.text('/metrics');
    const tally = await load(client, mix, options);
    const after = await client.text('/metrics');
    const rise = (name: string) => metricValue(after, name) - metricValue(before, name);
    const groups = rise('fcr_group_size_operations_count');
    return {
      tally,
      rowsPerOperation: rise('fcr_store_row_changes_total') / tally.ended,
      groupOperations: rise('fcr_group_size_operations_sum') / Math.max(1, groups),
      wipeBacklog: metricValue(after, 'fcr_wipe_backlog_volumes'),
      commitsPerSecond: groups / tally.seconds,
    };
  } finally {
    client.close();
    await product.stop();
  }
}

export const bench: Bench = {
  about:
    'operations a second from REST to a durable outcome, beside bare transactions of the same rows and beside itself without grouping',
  options: {
    store: { about: 'where the truth is kept', default: 'sqlite', among: ['sqlite', 'postgres'] },
    queue: { about: 'how workers are woken', default: 'in-process', among: ['in-process', 'bullmq'] },
    seconds: { about: 'how long the load lasts', default: 30 },
    clients: { about: 'requests under way', default: 8 },
    bulk: { about: 'operations of one request', default: 100 },
    gain: { about: 'whether the runs without grouping are made', default: 'yes', among: ['yes', 'no'] },
  },
  bounds: {
    ratio: { atLeast: 0.4 },
    operationsPerSecond: { atLeast: 10_000 },
    batchGain: { atLeast: 10 },
    lost: { atMost: 0 },
    errors: { atMost: 0 },
  },
  async run(options, progress) {
    const services = await startServices(options);
    try {
      return await figures(services, options, progress);
    } finally {
      await services.close();
    }
  },
};

async function figures(services: Services, options: OptionValues, progress: Progress): Promise<Figures> {
  const seconds = numberOption(options, 'seconds');
  progress(`${seconds} s of load`);
  const main = await measure(services, {
    clients: numberOption(options, 'clients'),
    seconds,
    bulk: numberOption(options, 'bulk'),
  });
  const { tally, rowsPerOperation, groupOperations } = main;
  if (tally.firstError !== null) progress(`first error: ${tally.firstError}`);
  const rate = tally.ended / tally.seconds;
  progress('the same rows as bare transactions');
  const bareRows = await bareTransactions({
    postgresUrl: services.postgresUrl,
    operations: Math.round(groupOperations),
    seconds: Math.min(10, seconds),
  });
  const limit = bareRows / rowsPerOperation;
  return {
    operationsPerSecond: Math.round(rate),
    ...Object.fromEntries(
      mixTypes.map((type) => [`${type}PerSecond`, Math.round((tally.byType.get(type) ?? 0) / tally.seconds)]),
    ),
    p50Ms: round(tally.latencies.quantile(0.5)),
    p99Ms: round(tally.latencies.quantile(0.99)),
    errors: tally.errors,
    lost: tally.lost,
    wipeBacklog: main.wipeBacklog,
    groupOperations: Math.round(groupOperations),
    groupsPerSecond: round(main.commitsPerSecond),
    rowsPerOperation: round(rowsPerOperation),
    limitOperationsPerSecond: Math.round(limit),
    ratio: round(rate / limit),
    ...(textOption(options, 'gain') === 'yes' ? await gains(services, rate, seconds, progress) : {}),
  };
}

async function gains(services: Services, rate: number, seconds: number, progress: Progress): Promise<Figures> {
  const alone = { seconds: Math.min(15, seconds), bulk: 1, groupBatches: 1 };
  progress('one operation a commit, 16 clients');
  const sixteen = await measure(services, { ...alone, clients: 16 });
  progress('one operation a commit, one client');
  const serial = await measure(services, { ...alone, clients: 1 });
  const perSecond = ({ tally }: Run) => tally.ended / tally.seconds;
  return {
    ungroupedPerSecond: Math.round(perSecond(sixteen)),
    ungroupedSerialPerSecond: Math.round(perSecond(serial)),
    batchGain: round(rate / perSecond(sixteen)),
    batchGainSerial: round(rate / perSecond(serial)),
  };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
