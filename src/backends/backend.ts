import type {
  DestroyRequest,
  EffectResult,
  MediumFound,
  ProvisionAnswer,
  ProvisionRequest,
  Space,
  WipeAnswer,
  WipeRequest,
} from '../storage-node/storage-node.ts';

/**
 * How a storage node keeps bytes. Same contract as the storage node's bulk calls; the fence (generation) has been
 * checked by the node before the backend is called, and the node holds the volume's lock around each item.
 * Byte-changing actions additionally hold the volume's flock, which the programs they start inherit.
 */
export interface Backend {
  readonly name: string;
  readonly canPunchHole: boolean;
  provision(request: ProvisionRequest): Promise<EffectResult<ProvisionAnswer>>;
  wipe(request: WipeRequest): Promise<EffectResult<WipeAnswer>>;
  destroy(request: DestroyRequest): Promise<EffectResult<null>>;
  /** Where the medium is, for the exporter; null when it is not there. */
  locate(volumeId: string, mediaGeneration: number): Promise<string | null>;
  inventory(): Promise<readonly MediumFound[]>;
  space(): Promise<Space>;
  close(): Promise<void>;
}
