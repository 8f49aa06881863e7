import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { Product } from '../../bench/support/product.ts';
import { limits } from '../../src/config/limits.ts';
import { ControllerClient } from '../../src/http/client.ts';
import { until } from '../support/daemon.ts';
import { RedisServer } from '../support/redis.ts';

/**
 * The whole product on BullMQ, under load, while its Redis is killed, emptied, flushed and paused: every operation that
 * was accepted ends, and none has an effect twice. Volumes of a pool tell about the journal alone, attachments about
 * effects: the epoch of a volume that was attached once is 1.
 */
const volumesPerBatch = 8;
const loadPauseMs = 100;

interface Load {
  readonly batches: string[];
  readonly volumes: string[];
  stop(): Promise<void>;
}

type Environment = Readonly<Record<string, string>>;

async function startProduct(t: ExecutionContext, store: Environment) {
  const redis = await RedisServer.start();
  t.teardown(() => redis.close());
  const environment = { FCR_QUEUE: 'bullmq', FCR_REDIS_URL: redis.url, FCR_HOST_NAME: 'node1', ...store };
  const product = await Product.start({ environment });
  t.teardown(() => product.stop());
  const client = new ControllerClient({ endpoint: { socketPath: product.socketPath } });
  t.teardown(() => client.close());
  await until(async () => (await client.hostList()).items.length === 1, { what: 'the host is registered' });
  const [node] = (await client.storageNodeList()).items;
  const backend = node?.backends[0] ?? 'file';
  await client.poolCreate({ name: 'fast', backend, volumeSizeBytes: 2 ** 30, minFree: 20, maxVolumes: 10_000 });
  return { redis, client };
}

/** Submits batches without waiting for their end, until it is stopped. */
function startLoad(client: ControllerClient): Load {
  const [batches, volumes]: [string[], string[]] = [[], []];
  let going = true;
  const submit = async (operations: readonly { readonly type: string; readonly params: object }[]) => {
    const { id } = await client.batchSubmit({ operations }, { waitMs: 0 });
    batches.push(id);
  };
  const loop = async () => {
    while (going) {
      const names = Array.from({ length: volumesPerBatch }, (_, index) => `v${volumes.length + index}`);
      volumes.push(...names);
      await submit(names.map((name) => ({ type: 'volume.create', params: { name, pool: 'fast' } })));
      await submit(
        names.map((volume) => ({
          type: 'volume.attach',
          params: { volume, host: 'node1', accessMode: 'single-writer' },
        })),
      );
      await sleep(loadPauseMs);
    }
  };
  const ended = loop();
  const stop = () => {
    going = false;
    return ended;
  };
  return { batches, volumes, stop };
}

/** One more batch ends now: the product is not only alive but working. */
async function goesOn(client: ControllerClient, load: Load): Promise<void> {
  const seen = load.batches.length;
  await until(() => load.batches.length > seen + 2, { what: 'further batches are accepted' });
  const batch = load.batches.at(-1) ?? '';
  await until(async () => (await client.batchGet(batch))?.state === 'ended', { what: `batch ${batch} ends` });
}

/** How every operation of the batches ended. */
async function outcomesOf(client: ControllerClient, batches: readonly string[]): Promise<readonly string[]> {
  const outcomes: string[] = [];
  for (const id of batches) {
    const isEnded = async () => (await client.batchGet(id))?.state === 'ended';
    // An effect whose outcome could not be committed is issued again when its lease has run out.
    await until(isEnded, { what: `batch ${id} ends`, timeoutMs: 3 * limits.effectLeaseMs });
    for (const { type, state, existing, problem } of (await client.batchGet(id))?.operations ?? []) {
      outcomes.push([type, state, existing ? 'existing' : 'new', problem?.code ?? ''].join(' ').trim());
    }
  }
  return outcomes;
}

/** `store`: the environment that names it; `alsoDo`: what else happens under the load. */
export async function survivesFailuresOfRedis(
  t: ExecutionContext,
  {
    store = {},
    alsoDo = async () => undefined,
  }: { readonly store?: Environment; readonly alsoDo?: () => Promise<void> } = {},
): Promise<void> {
  const { redis, client } = await startProduct(t, store);
  const load = startLoad(client);
  await goesOn(client, load);
  await redis.kill();
  await goesOn(client, load);
  await redis.restart();
  await goesOn(client, load);
  await redis.restart({ empty: true });
  await goesOn(client, load);
  await redis.flush();
  await goesOn(client, load);
  redis.pause();
  await sleep(10_000);
  await goesOn(client, load);
  redis.resume();
  await goesOn(client, load);
  await alsoDo();
  await goesOn(client, load);
  await load.stop();

  const outcomes = await outcomesOf(client, load.batches);
  t.deepEqual([...new Set(outcomes)].sort(), ['volume.attach succeeded new', 'volume.create succeeded new']);
  t.is(outcomes.length, 2 * load.volumes.length);
  t.log(`${outcomes.length} operations in ${load.batches.length} batches`);

  const pool = await client.poolGet('fast');
  t.is(pool?.status.allocated, load.volumes.length);
  const attachments = await client.attachmentList({ host: 'node1' });
  t.is(attachments.length, load.volumes.length);
  t.deepEqual([...new Set(attachments.map(({ epoch }) => epoch))], [1]);
}
