/** `fcr qos-policy`: limits per container, and over all containers of a host. */
import { type Command, Option } from 'commander';
import { formatByteCount } from '../../domain/byte-count.ts';
import { Failure } from '../../domain/errors.ts';
import { qosSharings } from '../../domain/qos.ts';
import type { QosPolicy } from '../../domain/qos-policy.ts';
import {
  bandwidthOrNone,
  choice,
  durationSeconds,
  nullIfNone,
  stated,
  wholeNumber,
  wholeNumberOrNone,
} from './arguments.ts';
import type { CliContext, View } from './context.ts';
import { timeOf } from './output.ts';
import { addDelete, addGet, addGroup, addList, present, withExamples } from './resource.ts';

const view: View<QosPolicy> = {
  name: (policy) => policy.name,
  columns: [
    { title: 'NAME', of: (policy) => policy.name },
    { title: 'IOPS', of: (policy) => policy.maxIopsPerContainer },
    { title: 'BANDWIDTH', of: (policy) => rateOf(policy.maxBandwidthPerContainer) },
    { title: 'TOTAL-IOPS', of: (policy) => policy.maxTotalIops },
    { title: 'TOTAL-BANDWIDTH', of: (policy) => rateOf(policy.maxTotalBandwidth) },
    { title: 'WEIGHT', of: (policy) => policy.weight },
    { title: 'BURST', of: (policy) => burstOf(policy) },
    { title: 'ENFORCED', of: (policy) => policy.enforced },
    { title: 'VERSION', of: (policy) => policy.version },
  ],
  details: [
    { title: 'Name', of: (policy) => policy.name },
    { title: 'Id', of: (policy) => policy.id },
    { title: 'IOPS per container', of: (policy) => policy.maxIopsPerContainer ?? 'unlimited' },
    { title: 'At least', of: (policy) => policy.minIopsPerContainer },
    { title: 'Bandwidth per container', of: (policy) => rateOf(policy.maxBandwidthPerContainer) ?? 'unlimited' },
    { title: 'IOPS of a host', of: (policy) => policy.maxTotalIops ?? 'unlimited' },
    { title: 'Bandwidth of a host', of: (policy) => rateOf(policy.maxTotalBandwidth) ?? 'unlimited' },
    { title: 'Weight, sharing', of: (policy) => `${policy.weight}, ${policy.sharing}` },
    { title: 'Burst', of: (policy) => burstOf(policy) },
    { title: 'Enforced', of: (policy) => policy.enforced },
    { title: 'Version', of: (policy) => policy.version },
    { title: 'Created', of: (policy) => timeOf(policy.createdAt) },
  ],
};

function rateOf(bytesPerSecond: number | null): string | null {
  return bytesPerSecond === null ? null : `${formatByteCount(bytesPerSecond)}/s`;
}

function burstOf(policy: QosPolicy): string | null {
  if (!policy.allowBursting || policy.burstIops === null) return null;
  return `${policy.burstIops} for ${policy.burstDurationSeconds}s`;
}

export function addQosPolicyCommands(program: Command, context: CliContext): void {
  const group = addGroup(
    program,
    'qos-policy',
    'limits per container, and over all containers of a host',
    'qos-policy create gold --max-iops 500 --burst',
    'qos-policy update gold --max-bandwidth 50MB',
    'qos-policy list',
  );
  addList(group, {
    context,
    view,
    about: 'QoS policies',
    page: (client, _, page) => client.qosPolicyList(page),
    examples: ['qos-policy list'],
  });
  const examples = ['qos-policy get gold'];
  addGet(group, { ...getting(context), view, about: 'a QoS policy', argument: '<name>', examples });
  addCreate(group, context);
  addUpdate(group, context);
  addDelete(group, {
    context,
    about: 'QoS policies that nothing refers to',
    argument: '<name>',
    remove: (client, name, command) => client.qosPolicyDelete(name, command.opts().ifVersion ?? null),
    examples: ['qos-policy delete gold'],
  }).option('--if-version <version>', 'only if nobody has changed it since', wholeNumber);
}

function getting(context: CliContext) {
  return {
    context,
    get: (client: CliContext['controller'], name: string) => client.qosPolicyGet(name),
    missing: 'qos-policy-not-found',
  } as const;
}

function withLimits(command: Command): Command {
  return command
    .option('--max-iops <count>', 'I/O operations per second of a container; none: unlimited', wholeNumberOrNone)
    .option('--min-iops <count>', 'never pushed under; none: no minimum', wholeNumberOrNone)
    .option('--max-bandwidth <size>', 'bytes per second of a container, e.g. 50MB; none', bandwidthOrNone)
    .option('--max-total-iops <count>', 'of all containers of a host; none', wholeNumberOrNone)
    .option('--max-total-bandwidth <size>', 'of all containers of a host; none', bandwidthOrNone)
    .option('--weight <number>', 'share relative to the others', wholeNumber)
    .option('--burst', 'may exceed its limit while it has credits')
    .addOption(new Option('--no-burst', 'may not'))
    .option('--burst-iops <count>', 'while bursting; else twice the limit', wholeNumberOrNone)
    .option('--burst-duration <duration>', 'how long a full burst lasts, e.g. 10s', durationSeconds)
    .addOption(choice('--sharing <rule>', 'how a limit of a host is divided', qosSharings));
}

/** What the command line states of the limits; nothing else is in it. */
function limitsOf(command: Command) {
  const options = command.opts();
  return stated({
    maxIopsPerContainer: nullIfNone(options.maxIops),
    minIopsPerContainer: nullIfNone(options.minIops),
    maxBandwidthPerContainer: nullIfNone(options.maxBandwidth),
    maxTotalIops: nullIfNone(options.maxTotalIops),
    maxTotalBandwidth: nullIfNone(options.maxTotalBandwidth),
    weight: options.weight,
    allowBursting: options.burst,
    burstIops: nullIfNone(options.burstIops),
    burstDurationSeconds: options.burstDuration,
    sharing: options.sharing,
  });
}

function addCreate(group: Command, context: CliContext): void {
  const command = withLimits(group.command('create').description('create a QoS policy').argument('<name>'));
  command.action(async (name: string) => {
    context.showOne(view, await context.controller.qosPolicyCreate({ name, ...limitsOf(command) }));
  });
  withExamples(
    command,
    'qos-policy create gold --max-iops 500 --burst --burst-duration 30s',
    'qos-policy create shared --max-total-iops 5000 --sharing proportional',
  );
}

function addUpdate(group: Command, context: CliContext): void {
  const command = withLimits(group.command('update').description('change some limits of a QoS policy'));
  command.argument('<name>').option('--if-version <version>', 'only if nobody has changed it since', wholeNumber);
  command.action(async (name: string) => {
    const change = limitsOf(command);
    if (Object.keys(change).length === 0) throw new Failure('invalid-request', 'Nothing to change was stated.');
    const present = await currentLimits(context, name);
    const version = command.opts().ifVersion ?? present.version;
    context.showOne(view, await context.controller.qosPolicyUpdate(name, { ...present.limits, ...change }, version));
  });
  withExamples(command, 'qos-policy update gold --max-iops 800', 'qos-policy update gold --max-bandwidth none');
}

/** The API replaces all limits at once; what the command line did not state stays as it is. */
async function currentLimits(context: CliContext, name: string) {
  const { id, name: _, enforced, version, createdAt, ...limits } = await present(getting(context), name);
  // A burst that followed from the rate follows the new one.
  const followed = limits.burstIops === (limits.maxIopsPerContainer ?? 0) * 2 || !limits.allowBursting;
  return { version, limits: followed ? { ...limits, burstIops: null } : limits };
}
