import type { EffectResult, ExportFound, ExportRequest, UnexportRequest } from '../storage-node/storage-node.ts';

/** How a storage node shows a medium to initiators. Idempotent; called under the volume's lock, after the fence. */
export interface Exporter {
  readonly name: string;
  readonly canFence: boolean;
  readonly targetPorts: readonly { readonly wwpn: string; readonly fabric: string; readonly synthesized: boolean }[];
  export(request: ExportRequest, location: string): Promise<EffectResult<null>>;
  unexport(request: UnexportRequest): Promise<EffectResult<null>>;
  inventory(): Promise<readonly ExportFound[]>;
  close(): Promise<void>;
}
