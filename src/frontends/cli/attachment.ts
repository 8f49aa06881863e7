/** `fcr attachment`: volumes shown to hosts. */
import type { Command } from 'commander';
import { type Attachment, accessModes } from '../../domain/attachment.ts';
import { Failure } from '../../domain/errors.ts';
import { choice, stated } from './arguments.ts';
import type { CliContext, View } from './context.ts';
import { timeOf } from './output.ts';
import { addDelete, addGet, addGroup, addList, present, withExamples } from './resource.ts';

const view: View<Attachment> = {
  name: (attachment) => attachment.id,
  columns: [
    { title: 'ID', of: (attachment) => attachment.id },
    { title: 'VOLUME', of: (attachment) => attachment.volume ?? attachment.volumeId },
    { title: 'HOST', of: (attachment) => attachment.host },
    { title: 'STATE', of: (attachment) => attachment.state },
    { title: 'HOST-SIDE', of: (attachment) => attachment.hostSide },
    { title: 'ACCESS', of: (attachment) => attachment.accessMode },
    { title: 'PATHS', of: (attachment) => attachment.paths.length },
  ],
  details: [
    { title: 'Id', of: (attachment) => attachment.id },
    { title: 'Volume', of: (attachment) => `${attachment.volume ?? '-'} (${attachment.volumeId})` },
    { title: 'Host', of: (attachment) => attachment.host },
    { title: 'State', of: (attachment) => `${attachment.state}, on the host ${attachment.hostSide}` },
    { title: 'Access', of: (attachment) => attachment.accessMode },
    { title: 'Namespace', of: (attachment) => attachment.namespace },
    { title: 'Epoch', of: (attachment) => attachment.epoch },
    { title: 'WWID', of: (attachment) => attachment.wwid },
    { title: 'Serial', of: (attachment) => attachment.serial },
    { title: 'Paths', of: pathsOf },
    { title: 'Created', of: (attachment) => timeOf(attachment.createdAt) },
  ],
};

function pathsOf(attachment: Attachment): string {
  return attachment.paths.map((path) => `${path.initiatorWwpn} -> ${path.targetWwpn} LUN ${path.lun}`).join('; ');
}

export function addAttachmentCommands(program: Command, context: CliContext): void {
  const group = addGroup(
    program,
    'attachment',
    'volumes shown to hosts',
    'attachment create data --host node1',
    'attachment list --host node1',
    'attachment delete att_01JD0000000000000000000000',
  );
  addList(group, {
    context,
    view,
    about: 'attachments',
    filters: {
      '--state <state>': 'in this state, e.g. attached, quarantined',
      '--host <name>': 'of this host',
      '--volume <name>': 'of this volume',
    },
    page: (client, { state, host, volume }, page) => client.attachmentPage(stated({ state, host, volume }), page),
    examples: ['attachment list', 'attachment list --state quarantined'],
  });
  const getting = {
    context,
    get: (client: CliContext['controller'], id: string) => client.attachmentGet(id),
    missing: 'attachment-not-found',
  } as const;
  const examples = ['attachment get att_01JD0000000000000000000000'];
  addGet(group, { ...getting, view, about: 'an attachment and its paths', argument: '<id>', examples });
  addCreate(group, context);
  addDelete(group, {
    context,
    about: 'attachments: ends once the host has confirmed that the device is gone',
    argument: '<id>',
    remove: async (client, id, command) => {
      const force = command.opts().force === true;
      const attachment = await present(getting, id);
      if (!force) await refuseWhileNeeded(context, attachment);
      // With force the host is not asked.
      if (!force && attachment.hostSide !== 'none')
        context.say(`${id}: waiting until host ${attachment.host} has let go of it`);
      await client.attachmentDelete(id, { force });
    },
    examples: [
      'attachment delete att_01JD0000000000000000000000',
      'attachment delete --force att_01JD0000000000000000000000',
    ],
  }).option('--force', 'fence: cut the host off without its help, where the exporter can');
}

/** Only this machine's agent knows who needs its mounts; without one, the host has the word once it is asked to let go. */
async function refuseWhileNeeded(context: CliContext, { id, volume, volumeId }: Attachment): Promise<void> {
  const mounts = await context.agent.mounts().catch(() => []);
  const needed = mounts.find(({ attachment, references }) => attachment === id && (references ?? []).length > 0);
  if (needed === undefined) return;
  const who = 'container engines on this machine have users of it on record';
  const listed = `docker ps or podman ps, --filter volume=${volume ?? volumeId}`;
  const remedy = `Stop its containers (${listed}); umount --force ends what no process has`;
  throw new Failure('volume-in-use', `Attachment ${id} stays: ${who}, at ${needed.path}. ${remedy}.`);
}

function addCreate(group: Command, context: CliContext): void {
  const command = group
    .command('create')
    .description('show a volume to a host; the same attachment again is no error')
    .argument('<volume>')
    .requiredOption('--host <name>', 'to this host')
    .addOption(choice('--access-mode <mode>', 'how it may be used', accessModes))
    .option('--namespace <container>', 'for this container only: its flow policies count');
  command.action(async (volume: string) => {
    const { host, accessMode, namespace } = command.opts();
    const wish = { volume, host, ...stated({ accessMode, namespace }) };
    context.showOne(view, await context.controller.attachmentCreate(wish));
  });
  withExamples(
    command,
    'attachment create data --host node1',
    'attachment create base --host node1 --access-mode read-only-many',
  );
}
