import type { Attachment } from '../../domain/attachment.ts';
import type { Event } from '../../domain/event.ts';
import type { FlowPolicy } from '../../domain/flow-policy.ts';
import type { FlowDecision, FlowDefault, FlowQuestion } from '../../domain/flow-resolution.ts';
import type { Host, InventoryBegun, StorageNode } from '../../domain/host.ts';
import type { Pool } from '../../domain/pool.ts';
import type { Principal, Token } from '../../domain/principal.ts';
import type { QosLimits, QosPolicy } from '../../domain/qos-policy.ts';
import type { Volume } from '../../domain/volume.ts';
import type * as port from '../store.ts';
import { attachmentGet, attachmentList, hostStateReport } from './attachment.ts';
import type { Database } from './database.ts';
import { eventsAfter, eventsHead } from './event.ts';
import { flowPolicyGet, flowPolicyList, flowPolicyUpdate, flowResolve } from './flow-policy.ts';
import { hostDelete, hostGet, hostList, hostRegister } from './host.ts';
import { type InventoryAnswer, inventoryBegin, inventoryReport } from './inventory.ts';
import { poolCreate, poolCreateFirst, poolDelete, poolGet, poolList, poolUpdate } from './pool.ts';
import { qosPolicyCreate, qosPolicyDelete, qosPolicyGet, qosPolicyList, qosPolicyUpdate } from './qos-policy.ts';
import { storageNodeGet, storageNodeList, storageNodeRegister } from './storage-node.ts';
import { tokenCreate, tokenDelete, tokenFind, tokenList } from './token.ts';
import { volumeClear, volumeGet, volumeList } from './volume.ts';

/** The resources, one file each; this class only binds them to a database and to what the configuration says. */
export class KyselyResourceStore implements port.ResourceStore {
  readonly #database: Database;
  readonly #defaultFlowAction: FlowDefault;

  constructor(database: Database, options: { readonly defaultFlowAction: FlowDefault }) {
    this.#database = database;
    this.#defaultFlowAction = options.defaultFlowAction;
  }

  poolCreate(pool: port.NewPool): Promise<port.Created<Pool>> {
    return poolCreate(this.#database, pool);
  }

  poolCreateFirst(pool: port.NewPool): Promise<boolean> {
    return poolCreateFirst(this.#database, pool);
  }

  poolGet(name: string): Promise<Pool | null> {
    return poolGet(this.#database, name);
  }

  poolList(page: port.PageRequest): Promise<port.Page<Pool>> {
    return poolList(this.#database, page);
  }

  poolUpdate(name: string, change: port.PoolChange, ifVersion: number | null): Promise<Pool> {
    return poolUpdate(this.#database, name, change, ifVersion);
  }

  poolDelete(name: string): Promise<{ readonly removed: boolean }> {
    return poolDelete(this.#database, name);
  }

  volumeGet(nameOrId: string): Promise<Volume | null> {
    return volumeGet(this.#database, nameOrId);
  }

  volumeList(filter: port.VolumeFilter, page: port.PageRequest): Promise<port.Page<Volume>> {
    return volumeList(this.#database, filter, page);
  }

  volumeClear(nameOrId: string): Promise<Volume> {
    return volumeClear(this.#database, nameOrId);
  }

  attachmentGet(id: string): Promise<Attachment | null> {
    return attachmentGet(this.#database, id);
  }

  attachmentList(filter: port.AttachmentFilter, page: port.PageRequest): Promise<port.Page<Attachment>> {
    return attachmentList(this.#database, filter, page);
  }

  hostStateReport(reports: readonly port.HostStateReport[]): ReturnType<port.ResourceStore['hostStateReport']> {
    return hostStateReport(this.#database, reports);
  }

  hostRegister(host: port.HostRegistration, principal: Principal): Promise<Host> {
    return hostRegister(this.#database, host, principal);
  }

  hostGet(name: string): Promise<Host | null> {
    return hostGet(this.#database, name);
  }

  hostList(page: port.PageRequest): Promise<port.Page<Host>> {
    return hostList(this.#database, page);
  }

  hostDelete(name: string): Promise<void> {
    return hostDelete(this.#database, name);
  }

  inventoryBegin(host: string): Promise<InventoryBegun> {
    return inventoryBegin(this.#database, host);
  }

  inventoryReport(report: port.HostInventoryReport): Promise<InventoryAnswer> {
    return inventoryReport(this.#database, report);
  }

  storageNodeRegister(node: port.StorageNodeRegistration): Promise<StorageNode> {
    return storageNodeRegister(this.#database, node);
  }

  storageNodeList(page: port.PageRequest): Promise<port.Page<StorageNode>> {
    return storageNodeList(this.#database, page);
  }

  storageNodeGet(name: string): Promise<StorageNode | null> {
    return storageNodeGet(this.#database, name);
  }

  flowPolicyGet(id: string): Promise<FlowPolicy | null> {
    return flowPolicyGet(this.#database, id);
  }

  flowPolicyList(filter: port.FlowPolicyFilter, page: port.PageRequest): Promise<port.Page<FlowPolicy>> {
    return flowPolicyList(this.#database, filter, page);
  }

  flowPolicyUpdate(id: string, change: port.FlowPolicyChange, ifVersion: number): Promise<FlowPolicy> {
    return flowPolicyUpdate(this.#database, id, change, ifVersion);
  }

  flowResolve(question: FlowQuestion): Promise<FlowDecision> {
    return flowResolve(this.#database, question, this.#defaultFlowAction);
  }

  qosPolicyCreate(policy: port.NewQosPolicy): Promise<port.Created<QosPolicy>> {
    return qosPolicyCreate(this.#database, policy);
  }

  qosPolicyGet(name: string): Promise<QosPolicy | null> {
    return qosPolicyGet(this.#database, name);
  }

  qosPolicyList(page: port.PageRequest): Promise<port.Page<QosPolicy>> {
    return qosPolicyList(this.#database, page);
  }

  qosPolicyUpdate(name: string, policy: QosLimits, ifVersion: number): Promise<QosPolicy> {
    return qosPolicyUpdate(this.#database, name, policy, ifVersion);
  }

  qosPolicyDelete(name: string, ifVersion: number | null): Promise<void> {
    return qosPolicyDelete(this.#database, name, ifVersion);
  }

  tokenCreate(token: port.NewToken, key: port.HeldKey | null = null): Promise<Token> {
    return tokenCreate(this.#database, token, key);
  }

  tokenList(page: port.PageRequest): Promise<port.Page<Token>> {
    return tokenList(this.#database, page);
  }

  tokenDelete(id: string): Promise<void> {
    return tokenDelete(this.#database, id);
  }

  tokenFind(hash: string): Promise<Principal | null> {
    return tokenFind(this.#database, hash);
  }

  eventsAfter(cursor: string | null, atMost: number): Promise<readonly Event[]> {
    return eventsAfter(this.#database, cursor, atMost);
  }

  eventsHead(): Promise<string> {
    return eventsHead(this.#database);
  }
}
