import { Type } from 'typebox';
import { limits } from '../../config/limits.ts';
import type { Attachment } from '../../domain/attachment.ts';
import type { Host, InventoryBegun, Port, StorageNode } from '../../domain/host.ts';
import * as field from '../../operations/field-schemas.ts';
import { attachmentSchema } from './attachment.ts';
import * as out from './output.ts';
import { portFields as port, portStates } from './port.ts';

export const hostSchema = out.named<Host>(
  'Host',
  out.object<Host>('A machine that runs containers.', {
    id: out.text('Id of the host.', 'host_01JD0000000000000000000000'),
    name: out.text('Name of the host.', 'node1'),
    machineId: out.text('Its machine-id; another machine cannot take its name.', '9c3f0e5b7a5d4f0bb1f2d3c4e5f60718'),
    bootId: out.text('Boot id of its last report.', '0f5e2a60-8b7b-4c39-9b6e-1f7b8a3f1c55'),
    state: out.oneOf(['online', 'offline'], 'Offline: it has been silent for too long.'),
    simulated: out.flag('Whether its devices are simulated.'),
    initiatorPorts: out.listOf(port, 'Its initiator ports.'),
    lastSeenAt: out.instant('When it reported last'),
    inventorySequence: out.integer('Sequence of its last inventory.', 12),
    version: out.integer('Rises with every change.', 1),
  }),
);
export const hostPageSchema = out.pageOf(hostSchema);

export const storageNodeSchema = out.named<StorageNode>(
  'StorageNode',
  out.object<StorageNode>('Where volumes live.', {
    id: out.text('Id of the storage node.', 'node_01JD0000000000000000000000'),
    name: out.text('Name of the storage node.', 'local'),
    exporter: out.text('How it shows volumes to initiators.', 'local'),
    backends: out.listOf(out.text('Name of a backend.', 'file'), 'Backends that it has.'),
    canFence: out.flag('Whether it can cut a host off without the help of the host.'),
    targetPorts: out.listOf(port, 'Its target ports.'),
    lastSeenAt: out.instant('When it reported last'),
    version: out.integer('Rises with every change.', 1),
  }),
);
export const storageNodePageSchema = out.pageOf(storageNodeSchema);

/** A target port, and whose it is. */
export interface Target extends Port {
  readonly storageNode: string;
}

export const targetSchema = out.named<Target>(
  'Target',
  out.object<Target>('A target port of a storage node.', {
    wwpn: out.wwpn('Port name.'),
    fabric: out.text('Fabric of the port.', 'local'),
    state: out.oneOf(portStates, 'State of the port.'),
    synthesized: out.flag('Whether the name was made up for a machine without such hardware.'),
    storageNode: out.text('Storage node that owns the port.', 'local'),
  }),
);
export const targetPageSchema = out.pageOf(targetSchema);

const portBody = Type.Object(
  {
    wwpn: field.wwpn({ description: 'Port name.' }),
    fabric: field.reference({ description: 'Fabric of the port.', examples: ['local'] }),
    state: field.oneOf(portStates, { description: 'State of the port.', examples: ['online'] }),
    synthesized: field.flag({ description: 'Whether the name was made up.', examples: [false] }),
  },
  { additionalProperties: false },
);
const portsBody = (description: string) => Type.Array(portBody, { maxItems: limits.portsPerHost, description });

export const hostBody = Type.Object(
  {
    machineId: field.text({ description: 'machine-id of the host.', examples: ['9c3f0e5b7a5d4f0bb1f2d3c4e5f60718'] }),
    bootId: field.text({ description: 'Boot id of the host.', examples: ['0f5e2a60-8b7b-4c39-9b6e-1f7b8a3f1c55'] }),
    simulated: field.flag({ description: 'Whether its devices are simulated.', examples: [false] }),
    initiatorPorts: portsBody('Its initiator ports.'),
  },
  { additionalProperties: false },
);

const sequence = { minimum: 0, maximum: Number.MAX_SAFE_INTEGER };

export const inventoryBody = Type.Object(
  {
    bootId: field.text({ description: 'Boot id of the host.', examples: ['0f5e2a60-8b7b-4c39-9b6e-1f7b8a3f1c55'] }),
    sequence: field.integer(sequence, { description: 'What begin answered when the scan began.', examples: [12] }),
    present: Type.Array(field.reference({ description: 'Id of an attachment.' }), {
      maxItems: limits.attachmentsPerHost,
      description: 'Attachments of which the host has a device, a claim or a memory.',
    }),
  },
  { additionalProperties: false },
);

export interface InventoryAnswer {
  readonly wanted: readonly Attachment[];
  readonly unwanted: readonly string[];
}

export const inventoryAnswerSchema = out.named<InventoryAnswer>(
  'InventoryAnswer',
  out.object<InventoryAnswer>('What the host should have and should not have.', {
    wanted: out.listOf({ $ref: `${attachmentSchema.$id}#` }, 'Attachments that the host should have.'),
    unwanted: out.listOf(out.text('Id of an attachment.'), 'Attachments that the host should take down.'),
  }),
);

export const inventoryBegunSchema = out.named<InventoryBegun>(
  'InventoryBegun',
  out.object<InventoryBegun>('A scan has begun.', {
    sequence: out.integer('How far the store has come. Send it with the inventory.', 12),
    storeId: out.text('Id of the store.', '7b0f5a52-54d5-4f0f-8a3f-0c7f6f3f0a11'),
    replacedStoreIds: out.listOf(out.text('Id of a store.'), 'The stores whose place it was adopted to take.'),
  }),
);
