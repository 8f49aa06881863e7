/** `fcr host` and `fcr storage-node`: the machines, and their ports. */
import type { Command } from 'commander';
import type { Host, Port, StorageNode } from '../../domain/host.ts';
import type { CliContext, View } from './context.ts';
import { timeOf } from './output.ts';
import { addDelete, addGet, addGroup, addList } from './resource.ts';

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
    context,
    view: hostView,
    about: 'a host and its ports',
    argument: '<name>',
    get: (client, name) => client.hostGet(name),
    missing: 'host-not-found',
    examples: ['host get node1'],
  });
  addDelete(group, {
    context,
    about: 'hosts without attachments',
    argument: '<name>',
    remove: (client, name) => client.hostDelete(name),
    examples: ['host delete node1'],
  });
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
