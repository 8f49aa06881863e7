import type { Path } from '../domain/attachment.ts';
import { resolveFlow } from '../domain/flow-resolution.ts';
import type { Port } from '../domain/host.ts';
import type { FlowKey, FlowPolicyRow, HostRow, StorageNodeRow } from '../store/group.ts';
import { flowPolicyView } from '../store/views.ts';
import type { Model } from './model.ts';

export type Pair = Omit<Path, 'lun'>;

/** Every pair of online ports on a common fabric. */
export function pairsOf(host: HostRow, node: StorageNodeRow): Pair[] {
  const pairs: Pair[] = [];
  for (const initiator of online(host.ports)) {
    for (const target of online(node.ports)) {
      if (initiator.fabric === target.fabric) pairs.push({ initiatorWwpn: initiator.wwpn, targetWwpn: target.wwpn });
    }
  }
  return pairs;
}

/** The flow policies that could decide a pair, most exact first. */
export function keysFor({ initiatorWwpn, targetWwpn }: Pair, namespace: string | null): FlowKey[] {
  const key = (initiator_wwpn: string, target_wwpn: string, ns: string): FlowKey => ({
    initiator_wwpn,
    target_wwpn,
    namespace: ns,
  });
  const namespaces = namespace === null ? [''] : [namespace, ''];
  return namespaces.flatMap((ns) => [
    key(initiatorWwpn, targetWwpn, ns),
    key(initiatorWwpn, '', ns),
    key('', targetWwpn, ns),
    key('', '', ns),
  ]);
}

export interface Resolution {
  readonly pairs: readonly Pair[];
  /** Why each dropped pair was dropped. */
  readonly dropped: readonly string[];
}

/** Decides each pair by the policies: `deny` drops it, `redirect` replaces its target by another port of the node. */
export function resolvePairs(model: Model, host: HostRow, node: StorageNodeRow, namespace: string | null): Resolution {
  const kept = new Map<string, Pair>();
  const dropped: string[] = [];
  const pairs = pairsOf(host, node);
  const reachable = new Set(pairs.map(keyOf));
  for (const pair of pairs) {
    const decision = resolveFlow(
      { ...pair, namespace },
      policiesFor(model, pair, namespace),
      model.context.defaultFlowAction,
    );
    if (decision.targetWwpn === null) {
      dropped.push(decision.why);
      continue;
    }
    const path = { initiatorWwpn: pair.initiatorWwpn, targetWwpn: decision.targetWwpn };
    if (reachable.has(keyOf(path))) kept.set(keyOf(path), path);
    else dropped.push(`${decision.why} Port ${path.targetWwpn} does not lead from there to the volume.`);
  }
  return { pairs: [...kept.values()], dropped };
}

function keyOf({ initiatorWwpn, targetWwpn }: Pair): string {
  return `${initiatorWwpn}|${targetWwpn}`;
}

/** The batch that has not decided yet about one of the policies that would decide here, or null. */
export function undecidedAbout(
  model: Model,
  host: HostRow,
  node: StorageNodeRow,
  namespace: string | null,
): string | null {
  for (const pair of pairsOf(host, node)) {
    for (const key of keysFor(pair, namespace)) {
      const row = model.flowPolicy(key.initiator_wwpn, key.target_wwpn, key.namespace);
      if (row !== null && row.heldBy !== null) return row.heldBy;
    }
  }
  return null;
}

function policiesFor(model: Model, pair: Pair, namespace: string | null) {
  return keysFor(pair, namespace).flatMap((key) => {
    const row = model.flowPolicy(key.initiator_wwpn, key.target_wwpn, key.namespace);
    return row === null || !isInForce(row, model) ? [] : [flowPolicyView(row)];
  });
}

/** What another batch has not decided yet may never come. */
function isInForce(row: FlowPolicyRow, { holder }: Model): boolean {
  return row.state === 'active' || (row.state === 'pending' && row.heldBy === holder);
}

function online(ports: readonly Port[]): Port[] {
  return ports.filter(({ state }) => state === 'online');
}
