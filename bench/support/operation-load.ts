import { setTimeout as sleep } from 'node:timers/promises';
import { Latencies } from './latencies.ts';
import { type MixType, type OperationAnswer, OperationMix } from './operation-mix.ts';
import { ProcessTreeMemory } from './process-tree.ts';
import { Product } from './product.ts';
import { metricValue, RestClient } from './rest.ts';

/** The load of the `operations` and `scale` benches, and what it measures on a product of its own. */
interface BatchAnswer {
  readonly id: string;
  readonly state: string;
  readonly operations: readonly OperationAnswer[];
}

export interface Tally {
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

export interface OperationRun {
  readonly tally: Tally;
  readonly rowsPerOperation: number;
  readonly groupOperations: number;
  readonly wipeBacklog: number;
  readonly commitsPerSecond: number;
  readonly startSeconds: number;
  readonly peakBytes: number;
}

export interface LoadOptions {
  readonly clients: number;
  readonly seconds: number;
  readonly bulk: number;
  readonly groupBatches?: number;
  readonly dataDirectory?: string;
}

/** One product under the mix, from its start to its end. */
export async function measureOperations(
  services: Readonly<Record<string, string>>,
  options: LoadOptions,
): Promise<OperationRun> {
  const { groupBatches, dataDirectory } = options;
  const environment = {
    ...services,
    ...(groupBatches === undefined ? {} : { FCR_GROUP_BATCHES: String(groupBatches) }),
  };
  const product = await Product.start({ environment, ...(dataDirectory === undefined ? {} : { dataDirectory }) });
  const client = new RestClient(product.socketPath, options.clients + 1);
  const memory = new ProcessTreeMemory(product.pid);
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
      startSeconds: product.startSeconds,
      peakBytes: memory.peakBytes,
    };
  } finally {
    memory.stop();
    client.close();
    await product.stop();
  }
}
