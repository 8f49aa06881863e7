export type PortState = 'online' | 'offline' | 'unreadable';

/** An initiator port of a host or a target port of a storage node. */
export interface Port {
  readonly wwpn: string;
  /** Ports reach each other only within one fabric; synthesized ports live on `local`. */
  readonly fabric: string;
  readonly state: PortState;
  readonly synthesized: boolean;
}

export type HostState = 'online' | 'offline';

export interface Host {
  readonly id: string;
  readonly name: string;
  readonly machineId: string;
  readonly bootId: string;
  readonly state: HostState;
  /** Whether devices of this host are simulated (no loop devices or mounts could be had). */
  readonly simulated: boolean;
  readonly initiatorPorts: readonly Port[];
  readonly lastSeenAt: number;
  readonly inventorySequence: number;
  readonly version: number;
}

/** What a host says of itself when it registers. */
export interface HostRegistration {
  readonly name: string;
  readonly machineId: string;
  readonly bootId: string;
  readonly simulated: boolean;
  readonly initiatorPorts: readonly Port[];
}

/** How far the store had come when a host began to scan, and which store it is. */
export interface InventoryBegun {
  /** The store's commit number. */
  readonly sequence: number;
  readonly storeId: string;
  /** The stores whose place this one has taken (`fcr adopt`). */
  readonly replacedStoreIds: readonly string[];
}

/** What a host found at one scan: the attachments whose devices it has. */
export interface HostInventoryReport {
  readonly host: string;
  readonly bootId: string;
  /** Taken from the store (`InventoryBegun`) when the scan began: what changed since is left alone. */
  readonly sequence: number;
  /** Attachments of which a device, claim or memory exists on the host. */
  readonly present: readonly string[];
}

export interface StorageNode {
  readonly id: string;
  readonly name: string;
  readonly exporter: string;
  readonly backends: readonly string[];
  /** Whether the exporter can revoke a path without the host's help. */
  readonly canFence: boolean;
  readonly targetPorts: readonly Port[];
  readonly lastSeenAt: number;
  readonly version: number;
}
