/** `fcr pool`: volumes kept ready. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import { limits } from '../../config/limits.ts';
import { formatByteCount } from '../../domain/byte-count.ts';
import { Failure } from '../../domain/errors.ts';
import type { Pool } from '../../domain/pool.ts';
import { filesystemTypes } from '../../domain/volume.ts';
import { choice, durationSeconds, stated, volumeSize, wholeNumber } from './arguments.ts';
import type { CliContext, View } from './context.ts';
import { timeOf } from './output.ts';
import { addDelete, addGet, addGroup, addList, present, withExamples } from './resource.ts';

const view: View<Pool> = {
  name: (pool) => pool.name,
  columns: [
    { title: 'NAME', of: (pool) => pool.name },
    { title: 'STATE', of: (pool) => pool.state },
    { title: 'SIZE', of: (pool) => formatByteCount(pool.volumeSizeBytes) },
    { title: 'FREE', of: (pool) => pool.status.free },
    { title: 'MIN-FREE', of: (pool) => pool.minFree },
    { title: 'ALLOCATED', of: (pool) => pool.status.allocated },
    { title: 'WIPING', of: (pool) => pool.status.wiping },
    { title: 'FAILED', of: (pool) => pool.status.failed },
    { title: 'RETIRED', of: (pool) => pool.status.retired },
    { title: 'MAX', of: (pool) => pool.maxVolumes },
    { title: 'BACKEND', of: (pool) => pool.backend },
  ],
  details: [
    { title: 'Name', of: (pool) => pool.name },
    { title: 'Id', of: (pool) => pool.id },
    { title: 'State', of: (pool) => pool.state },
    { title: 'Backend', of: (pool) => pool.backend },
    { title: 'Storage node', of: (pool) => pool.storageNode },
    { title: 'Volume size', of: (pool) => formatByteCount(pool.volumeSizeBytes) },
    { title: 'Filesystem', of: (pool) => pool.filesystem },
    { title: 'Free', of: (pool) => `${pool.status.free} (at least ${pool.minFree})` },
    { title: 'Provisioning', of: (pool) => pool.status.provisioning },
    { title: 'Allocated', of: (pool) => pool.status.allocated },
    { title: 'Wiping', of: (pool) => pool.status.wiping },
    { title: 'Failed', of: (pool) => pool.status.failed },
    { title: 'Retired', of: (pool) => pool.status.retired },
    { title: 'At most', of: (pool) => pool.maxVolumes },
    { title: 'Hits, misses', of: (pool) => `${pool.status.hits}, ${pool.status.misses}` },
    { title: 'Blocked', of: (pool) => pool.status.blockedReason },
    { title: 'Version', of: (pool) => pool.version },
    { title: 'Created', of: (pool) => timeOf(pool.createdAt) },
  ],
};

export function addPoolCommands(program: Command, context: CliContext): void {
  const group = addGroup(
    program,
    'pool',
    'pools of pre-provisioned volumes',
    'pool create fast --size 10GiB --min-free 10 --max-volumes 100',
    'pool wait fast',
    'pool list',
  );
  addList(group, {
    context,
    view,
    about: 'pools and how full they are',
    page: (client, _, page) => client.poolList(page),
    examples: ['pool list', 'pool list --json'],
  });
  addGet(group, { ...getting(context), view, about: 'a pool', argument: '<name>', examples: ['pool get fast'] });
  addCreate(group, context);
  addUpdate(group, context);
  addDelete(group, {
    context,
    about: 'pools that no volume is allocated from',
    argument: '<name>',
    remove: (client, name) => client.poolDelete(name),
    examples: ['pool delete fast'],
  });
  addDrain(group, context);
  addWait(group, context);
}

function getting(context: CliContext) {
  return {
    context,
    get: (client: CliContext['controller'], name: string) => client.poolGet(name),
    missing: 'pool-not-found',
  } as const;
}

function addCreate(group: Command, context: CliContext): void {
  const command = group
    .command('create')
    .description('create a pool; the same pool again is no error')
    .argument('<name>')
    .requiredOption('--size <size>', 'the size of each volume, e.g. 10GiB', volumeSize)
    .option('--min-free <count>', 'free volumes to keep ready', wholeNumber, 4)
    .option('--max-volumes <count>', 'most volumes in all states', wholeNumber, 100)
    .option('--backend <name>', 'what makes the volumes', 'file')
    .option('--storage-node <name>', 'where; else the one that has the backend')
    .addOption(choice('--filesystem <type>', 'what they are formatted with', filesystemTypes));
  command.action(async (name: string) => {
    const { size, minFree, maxVolumes, backend, storageNode, filesystem } = command.opts();
    const body = { name, backend, volumeSizeBytes: size, minFree, maxVolumes, ...stated({ storageNode, filesystem }) };
    context.showOne(view, await context.controller.poolCreate(body));
  });
  withExamples(command, 'pool create fast --size 10GiB --min-free 10 --max-volumes 100 --filesystem xfs');
}

function addUpdate(group: Command, context: CliContext): void {
  const command = group
    .command('update')
    .description('change how many volumes a pool keeps')
    .argument('<name>')
    .option('--min-free <count>', 'free volumes to keep ready', wholeNumber)
    .option('--max-volumes <count>', 'most volumes in all states', wholeNumber)
    .option('--if-version <version>', 'only if nobody has changed it since', wholeNumber);
  command.action(async (name: string) => {
    const { minFree, maxVolumes, ifVersion } = command.opts();
    const change = stated({ minFree, maxVolumes });
    if (Object.keys(change).length === 0) throw new Failure('invalid-request', 'Nothing to change was stated.');
    context.showOne(view, await context.controller.poolUpdate(name, change, ifVersion ?? null));
  });
  withExamples(command, 'pool update fast --min-free 20', 'pool update fast --max-volumes 50 --if-version 3');
}

function addDrain(group: Command, context: CliContext): void {
  const command = group
    .command('drain')
    .description('give out nothing more, and remove its free volumes')
    .argument('<name>')
    .option('--undo', 'take a drained pool into use again');
  command.action(async (name: string) => {
    const draining = command.opts().undo !== true;
    context.showOne(view, await context.controller.poolUpdate(name, { draining }));
  });
  withExamples(command, 'pool drain fast', 'pool drain fast --undo');
}

function addWait(group: Command, context: CliContext): void {
  const command = group
    .command('wait')
    .description('wait until a pool has its free volumes ready')
    .argument('<name>')
    .option('--free <count>', 'so many; else as many as the pool keeps', wholeNumber)
    .option('--timeout <duration>', 'give up after, e.g. 90s, 5m', durationSeconds, 300);
  command.action(async (name: string) => {
    const { free, timeout } = command.opts();
    context.showOne(view, await waitUntilFree(context, name, { free: free ?? null, timeoutMs: timeout * 1000 }));
  });
  withExamples(command, 'pool wait fast', 'pool wait fast --free 50 --timeout 10m');
}

interface Wait {
  /** Null: the pool's own minimum. */
  readonly free: number | null;
  readonly timeoutMs: number;
}

async function waitUntilFree(context: CliContext, name: string, wait: Wait): Promise<Pool> {
  const deadline = performance.now() + wait.timeoutMs;
  let pool = await present(getting(context), name);
  const bar = context.world.progress(`pool ${name}`, wantedOf(pool, wait));
  try {
    while (pool.status.free < wantedOf(pool, wait)) {
      refuseNever(pool, wantedOf(pool, wait));
      if (performance.now() >= deadline) throw tooLate(pool, wantedOf(pool, wait));
      bar.update(pool.status.free);
      await pause(limits.cliPollMs);
      pool = await present(getting(context), name);
    }
    return pool;
  } finally {
    bar.stop();
  }
}

function wantedOf(pool: Pool, wait: Wait): number {
  return wait.free ?? Math.min(pool.minFree, pool.maxVolumes - pool.status.allocated);
}

/** What no waiting brings about. */
function refuseNever({ name, maxVolumes, state }: Pool, wanted: number): void {
  if (wanted > maxVolumes) {
    const remedy = `fcr pool update ${name} --max-volumes ${wanted} --min-free ${wanted} lets it`;
    throw new Failure(
      'invalid-request',
      `Pool ${name} never has ${wanted} free volumes: it has at most ${maxVolumes} in all states; ${remedy}.`,
    );
  }
  if (state !== 'draining') return;
  const remedy = `fcr pool drain ${name} --undo takes it into use again`;
  throw new Failure('pool-draining', `Pool ${name} is being drained: it gets no free volumes; ${remedy}.`);
}

function tooLate(pool: Pool, wanted: number): Failure {
  const { free, blockedReason } = pool.status;
  const has = `Pool ${pool.name} has ${free} of ${wanted} free volumes`;
  return new Failure('deadline-exceeded', `${has}${lackOf(pool, wanted, blockedReason)}.`);
}

function lackOf({ name, minFree }: Pool, wanted: number, blockedReason: string | null): string {
  if (blockedReason !== null) return `; refill is blocked: ${blockedReason}`;
  return wanted > minFree ? `; it makes ${minFree} ready by itself: fcr pool update ${name} --min-free ${wanted}` : '';
}
