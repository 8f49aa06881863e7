/** `fcr volume`: what orchestrators ask for. */
import type { Command } from 'commander';
import { formatByteCount } from '../../domain/byte-count.ts';
import type { Volume } from '../../domain/volume.ts';
import { label, stated, volumeSize } from './arguments.ts';
import type { CliContext, View } from './context.ts';
import { timeOf } from './output.ts';
import { addDelete, addGet, addGroup, addList, withExamples } from './resource.ts';

const view: View<Volume> = {
  name: (volume) => volume.name ?? volume.id,
  columns: [
    { title: 'NAME', of: (volume) => volume.name },
    { title: 'STATE', of: (volume) => volume.state },
    { title: 'SIZE', of: (volume) => formatByteCount(volume.sizeBytes) },
    { title: 'POOL', of: (volume) => volume.pool },
    { title: 'ATTACHED-TO', of: (volume) => volume.attachments.map((attachment) => attachment.host).join(',') },
    { title: 'QOS', of: (volume) => volume.qosPolicy },
    { title: 'ID', of: (volume) => volume.id },
  ],
  details: [
    { title: 'Name', of: (volume) => volume.name },
    { title: 'Id', of: (volume) => volume.id },
    { title: 'State', of: (volume) => volume.state },
    { title: 'Size', of: (volume) => `${formatByteCount(volume.sizeBytes)} (${volume.sizeBytes} bytes)` },
    { title: 'Pool', of: (volume) => volume.pool },
    { title: 'Storage node', of: (volume) => `${volume.storageNode}, ${volume.backend}` },
    { title: 'WWID', of: (volume) => volume.wwid },
    { title: 'Serial', of: (volume) => volume.serial },
    { title: 'Filesystem', of: (volume) => `${volume.filesystem}${volume.formatted ? '' : ', not formatted yet'}` },
    { title: 'QoS policy', of: (volume) => volume.qosPolicy },
    { title: 'Labels', of: (volume) => pairs(volume.labels) },
    {
      title: 'Attachments',
      of: (volume) => volume.attachments.map((at) => `${at.host} ${at.state} ${at.id}`).join('; '),
    },
    { title: 'Generation', of: (volume) => `${volume.generation}, medium ${volume.mediaGeneration}` },
    { title: 'Wipe proof', of: (volume) => wipeProofOf(volume) },
    { title: 'Epoch', of: (volume) => volume.epoch },
    { title: 'Failure', of: (volume) => volume.failureReason },
    { title: 'Allocated', of: (volume) => timeOf(volume.allocatedAt) },
  ],
};

export function addVolumeCommands(program: Command, context: CliContext): void {
  const group = addGroup(
    program,
    'volume',
    'volumes: from a pool, or made on demand',
    'volume create data --size 10GiB',
    'volume list --pool fast',
    'volume delete data',
  );
  addList(group, {
    context,
    view,
    about: 'volumes',
    filters: {
      '--state <state>': 'in this state, e.g. allocated, failed',
      '--pool <name>': 'of this pool',
      '--host <name>': 'attached to this host',
      '--label <label>': 'with this label: key or key=value',
    },
    page: (client, { state, pool, host, label }, page) => client.volumeList(stated({ state, pool, host, label }), page),
    examples: ['volume list', 'volume list --state failed', 'volume list --label app=db --quiet'],
  });
  addGet(group, {
    context,
    view,
    about: 'a volume',
    argument: '<name>',
    get: (client, name) => client.volumeGet(name),
    missing: 'volume-not-found',
    examples: ['volume get data', 'volume get data --json | jq -r .wwid'],
  });
  addCreate(group, context);
  addDelete(group, {
    context,
    about: 'volumes that are attached nowhere; their bytes are destroyed',
    argument: '<name>',
    remove: (client, name) => client.volumeDelete(name),
    examples: ['volume delete data', 'volume list --label app=test --quiet | xargs -r fcr volume delete'],
  });
  addClear(group, context);
}

function addCreate(group: Command, context: CliContext): void {
  const command = group
    .command('create')
    .description('create a volume; the same volume again is no error')
    .argument('<name>')
    .option('--size <size>', 'at least so large, e.g. 10GiB; else what the pool has', volumeSize)
    .option('--pool <name>', 'from this pool; else the smallest one that is large enough')
    .option('--qos-policy <name>', 'with this QoS policy')
    .option('--label <key=value>', 'with this label; may be repeated', label);
  command.action(async (name: string) => {
    const { size, pool, qosPolicy, label: labels } = command.opts();
    const wish = { name, ...stated({ sizeBytes: size, pool, qosPolicy, labels }) };
    context.showOne(view, await context.controller.volumeCreate(wish));
  });
  withExamples(
    command,
    'volume create data --size 10GiB',
    'volume create data --pool fast --qos-policy gold --label app=db --label tier=1',
  );
}

function addClear(group: Command, context: CliContext): void {
  const command = group
    .command('clear')
    .description('end the quarantine of a failed volume: it is wiped and returned')
    .argument('<id>');
  command.action(async (id: string) => {
    context.showOne(view, await context.controller.volumeClear(id));
  });
  withExamples(command, 'volume list --state failed', 'volume clear vol_01JD0000000000000000000000');
}

function wipeProofOf({ wipeProof }: Volume): string | null {
  if (wipeProof == null) return null;
  const { generation, method, verifiedBytes, at } = wipeProof;
  return `medium ${generation}, ${method}, ${verifiedBytes} bytes read back, ${timeOf(at) ?? 'time unknown'}`;
}

function pairs(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => (value === '' ? key : `${key}=${value}`))
    .join(', ');
}
