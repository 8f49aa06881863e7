import { join } from 'node:path';
import { BareLifecycle } from './support/bare-lifecycle.ts';
import { type Bench, numberOption } from './support/bench.ts';
import type { Figures } from './support/figures.ts';
import { Latencies } from './support/latencies.ts';
import { Product } from './support/product.ts';
import { WireClient } from './support/wire-client.ts';

const sizeBytes = 1024 ** 3;
const kinds = ['create', 'attach', 'detach', 'delete'] as const;
const bareKinds = ['commit', 'attachFloor', 'detachFloor'] as const;
/** Of the rounds before: the first ones, which a service has just after its start. */
const coldRounds = 50;

type Times = Readonly<Record<(typeof kinds)[number] | (typeof bareKinds)[number], Latencies>>;

/** A real loop device, a real mount: the product over its two sockets, the way an orchestrator on the machine uses it. */
async function round(
  number: number,
  controller: WireClient,
  agent: WireClient,
  times: Times,
  directory: string,
): Promise<void> {
  const volume = `bench-${number}`;
  await times.create.time(() => controller.expect('POST', '/v1/volumes', { name: volume, pool: 'bench' }));
  const path = join(directory, 'mounted', volume);
  const mounted = await times.attach.time(() => agent.expect<{ id: string }>('POST', '/v1/mounts', { volume, path }));
  await times.detach.time(() => agent.expect('DELETE', `/v1/mounts/${mounted.id}`));
  await times.delete.time(() => controller.expect('DELETE', `/v1/volumes/${volume}`));
}

async function bareRound(bare: BareLifecycle, times: Times): Promise<void> {
  for (let commits = 0; commits < 3; commits += 1) await times.commit.time(async () => bare.commit());
  await times.attachFloor.time(async () => bare.attach());
  await times.detachFloor.time(async () => bare.detach());
}

async function makePool(controller: WireClient): Promise<void> {
  await controller.expect('POST', '/v1/pools', {
    name: 'bench',
    backend: 'file',
    volumeSizeBytes: sizeBytes,
    minFree: 20,
    maxVolumes: 1_000,
    filesystem: 'ext4',
  });
  for (;;) {
    const pool = await controller.expect<{ status: { free: number } }>('GET', '/v1/pools/bench');
    if (pool.status.free >= 20) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export const bench: Bench = {
  about:
    'create, attach (to mounted), detach and delete of one volume at a time on real loop devices, beside bare commits and system calls',
  options: {
    rounds: { about: 'volumes, one after the other', default: 200 },
    'warm-up': { about: 'volumes before those, so that the service is one that has run for a while', default: 300 },
  },
  bounds: () => ({ createRatio: { atMost: 3 }, attachRatio: { atMost: 3 }, detachRatio: { atMost: 3 } }),
  async run(options, progress) {
    const product = await Product.start({ environment: { FCR_HOST_MODE: 'linux', FCR_STORAGE_NODE_KIND: 'file' } });
    const controller = new WireClient(product.socketPath);
    const agent = new WireClient(join(product.dataDirectory, 'agent.sock'));
    const bare = new BareLifecycle(product.dataDirectory, sizeBytes);
    try {
      await makePool(controller);
      const [cold, warming, times] = [noTimes(), noTimes(), noTimes()];
      const [rounds, warmUp] = [numberOption(options, 'rounds'), numberOption(options, 'warm-up')];
      progress(`${rounds} rounds after ${warmUp}`);
      for (let number = 0; number < warmUp + rounds; number += 1) {
        const into = number >= warmUp ? times : number < coldRounds ? cold : warming;
        await round(number, controller, agent, into, product.dataDirectory);
        await bareRound(bare, into);
      }
      return figuresOf(times, cold);
    } finally {
      bare.close();
      controller.close();
      agent.close();
      await product.stop();
    }
  },
};

function noTimes(): Times {
  const all = [...kinds, ...bareKinds].map((kind) => [kind, new Latencies()] as const);
  return Object.fromEntries(all) as Record<keyof Times, Latencies>;
}

function figuresOf(times: Times, cold: Times): Figures {
  const p50 = (kind: keyof Times) => times[kind].quantile(0.5);
  const commit = p50('commit');
  const latencies = kinds.flatMap((kind) => [
    [`${kind}P50Ms`, rounded(p50(kind))],
    [`${kind}P99Ms`, rounded(times[kind].quantile(0.99))],
    ...(cold[kind].count === 0 ? [] : [[`${kind}ColdP50Ms`, rounded(cold[kind].quantile(0.5))]]),
  ]);
  return {
    ...Object.fromEntries(latencies),
    commitP50Ms: rounded(commit),
    attachFloorP50Ms: rounded(p50('attachFloor')),
    detachFloorP50Ms: rounded(p50('detachFloor')),
    createRatio: rounded(p50('create') / (2 * commit)),
    attachRatio: rounded(p50('attach') / (p50('attachFloor') + 3 * commit)),
    detachRatio: rounded(p50('detach') / (p50('detachFloor') + 3 * commit)),
  };
}

function rounded(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
