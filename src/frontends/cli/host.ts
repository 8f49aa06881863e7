/** `fcr host` and `fcr storage-node`: the machines, and their ports. */
import type { Command } from 'commander';
import type { Attachment } from '../../domain/attachment.ts';
import { Failure } from '../../domain/errors.ts';
import type { Host, Port, StorageNode } from '../../domain/host.ts';
import type { CliContext, View } from './context.ts';
import { timeOf } from './output.ts';
import { addDelete, addGet, addGroup, addList, present, withExamples } from './resource.ts';

const hostView: View<Host> = {
  name: (host) => host.name,
  columns: [
    { title: 'NAME', of: (host) => host.name },
    { title: 'STATE', of: (host) => host.state },
    { title: 'DEVICES', of: (host) => (host.simulated ? 'simulated' : 'real') },
    { title: 'PORTS', of: (host) => portsOf(host.initiatorPorts) },
    { title: 'LAST-SEEN', of: (host) => timeOf(host.lastSeenAt) },
  ],
  details: [
    { title: 'Name', of: (host) => host.name },
    { title: 'State', of: (host) => host.state },
    { title: 'Devices', of: (host) => (host.simulated ? 'simulated' : 'real') },
    { title: 'Initiator ports', of: (host) => portsOf(host.initiatorPorts) },
    { title: 'Machine', of: (host) => host.machineId },
    { title: 'Boot', of: (host) => host.bootId },
    { title: 'Last seen', of: (host) => timeOf(host.lastSeenAt) },
  ],
};

const nodeView: View<StorageNode> = {
  name: (node) => node.name,
  columns: [
    { title: 'NAME', of: (node) => node.name },
    { title: 'EXPORTER', of: (node) => node.exporter },
    { title: 'BACKENDS', of: (node) => node.backends.join(',') },
    { title: 'CAN-FENCE', of: (node) => node.canFence },
    { title: 'PORTS', of: (node) => portsOf(node.targetPorts) },
    { title: 'LAST-SEEN', of: (node) => timeOf(node.lastSeenAt) },
  ],
};

export function portsOf(ports: readonly Port[]): string {
  return ports.map((port) => `${port.wwpn}${port.state === 'online' ? '' : ` ${port.state}`}`).join('; ');
}

export function addHostCommands(program: Command, context: CliContext): void {
  const group = addGroup(program, 'host', 'machines that run containers', 'host list', 'host get node1');
  addList(group, {
    context,
    view: hostView,
    about: 'hosts',
    page: (client, _, page) => client.hostList(page),
    examples: ['host list', 'host list --json'],
  });
  addGet(group, {
    ...getting(context),
    view: hostView,
    about: 'a host and its ports',
    argument: '<name>',
    examples: ['host get node1'],
  });
  addDelete(group, {
    context,
    about: 'hosts without attachments',
    argument: '<name>',
    remove: (client, name) => client.hostDelete(name),
    examples: ['host delete node1'],
  });
  addLost(group, context);
}

function getting(context: CliContext) {
  return {
    context,
    get: (client: CliContext['controller'], name: string) => client.hostGet(name),
    missing: 'host-not-found',
  } as const;
}

/** A person's word in the place of the host's: with it goes what no exporter can see to, that nobody writes there any more. */
function addLost(group: Command, context: CliContext): void {
  const command = group
    .command('lost')
    .description('take back all that a machine holds which is off and will not come back')
    .argument('<name>')
    .option('--yes', 'it is meant: the machine is switched off, or cut off from its storage, until it is booted anew');
  command.action(async (name: string) => {
    const host = await present(getting(context), name);
    const attachments = await context.controller.attachmentList({ host: host.name });
    refuseOnline(host);
    refuseUnlessMeant(host, attachments, command.opts().yes === true);
    for (const { id, epoch, volume, volumeId } of attachments) {
      // It may have come back meanwhile.
      refuseOnline(await present(getting(context), name));
      await context.controller.attachmentDelete(id, { gone: { epoch, proof: 'fcr-host-lost' } });
      context.say(`${volume ?? volumeId} detached from ${host.name}`);
    }
    const left = await context.controller.attachmentList({ host: host.name });
    const rest = `${host.name} still holds ${left.length}: made meanwhile, or not removed yet; repeat this`;
    context.say(left.length === 0 ? `${host.name} holds nothing any more` : rest);
  });
  withExamples(command, 'host lost node1 --yes');
}

function refuseOnline(host: Host): void {
  if (host.state !== 'online') return;
  const heard = `it was last heard of at ${timeOf(host.lastSeenAt)}`;
  const when = "Switch it off; it counts as offline once it has been silent for the controller's host.silence";
  throw new Failure('resource-in-use', `Host "${host.name}" is online: ${heard}. ${when}.`);
}

function refuseUnlessMeant(host: Host, attachments: readonly Attachment[], isMeant: boolean): void {
  if (attachments.length === 0 || isMeant) return;
  const held = attachments.map(({ volume, volumeId }) => volume ?? volumeId).join(', ');
  const danger = 'They go to whoever asks next: does the machine still run, two hosts write to the same bytes';
  const condition = 'Make sure that it is switched off, or cut off from its storage, until it is booted anew';
  throw new Failure(
    'invalid-request',
    `Host "${host.name}" holds ${held}. ${danger}. ${condition}; --yes confirms it.`,
  );
}

export function addStorageNodeCommands(program: Command, context: CliContext): void {
  const group = addGroup(program, 'storage-node', 'where volumes live', 'storage-node list', 'storage-node get local');
  addList(group, {
    context,
    view: nodeView,
    about: 'storage nodes',
    page: (client, _, page) => client.storageNodeList(page),
    examples: ['storage-node list'],
  });
  addGet(group, {
    context,
    view: nodeView,
    about: 'a storage node and its ports',
    argument: '<name>',
    get: (client, name) => client.storageNodeGet(name),
    missing: 'storage-node-not-found',
    examples: ['storage-node get local'],
  });
}
