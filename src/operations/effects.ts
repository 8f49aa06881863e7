import { assert, problemOf } from '../domain/errors.ts';
import type { EffectResult, StorageNode } from '../storage-node/storage-node.ts';
import type { Effect, EffectOutcome } from '../store/store.ts';

type Kind = Effect['kind'];

/**
 * Carries out effects: one bulk call per storage node and kind. A call that throws leaves its effects unknown: they are
 * not settled, and recovery issues them again under a higher generation.
 */
export async function carryOut(
  effects: readonly Effect[],
  nodes: ReadonlyMap<string, StorageNode>,
  onUnknown: (effects: readonly Effect[], error: unknown) => void,
): Promise<EffectOutcome[]> {
  const calls = [...groups(effects)].map(async (group) => {
    try {
      return await call(group, nodes);
    } catch (error) {
      onUnknown(group, error);
      return [];
    }
  });
  return (await Promise.all(calls)).flat();
}

function groups(effects: readonly Effect[]): Iterable<Effect[]> {
  const byCall = new Map<string, Effect[]>();
  for (const effect of effects) {
    const key = `${effect.storageNode}|${effect.kind}`;
    const list = byCall.get(key);
    if (list === undefined) byCall.set(key, [effect]);
    else list.push(effect);
  }
  return byCall.values();
}

async function call(group: readonly Effect[], nodes: ReadonlyMap<string, StorageNode>): Promise<EffectOutcome[]> {
  const [first] = group;
  assert(first !== undefined, 'effects-empty-group');
  const node = nodes.get(first.storageNode);
  if (node === undefined) throw new Error(`storage node ${first.storageNode} is not connected here`);
  const results = await callNode(first.kind, group, node);
  assert(results.length === group.length, 'effects-answers');
  return group.map((effect, index) => ({ effect, result: outcomeOf(results[index]) }));
}

function callNode(kind: Kind, group: readonly Effect[], node: StorageNode): Promise<readonly EffectResult<unknown>[]> {
  switch (kind) {
    case 'provision':
      return node.provision(group.flatMap((effect) => (effect.kind === 'provision' ? [effect.request] : [])));
    case 'destroy':
      return node.destroy(group.flatMap((effect) => (effect.kind === 'destroy' ? [effect.request] : [])));
    case 'export':
      return node.export(group.flatMap((effect) => (effect.kind === 'export' ? [effect.request] : [])));
    case 'unexport':
      return node.unexport(group.flatMap((effect) => (effect.kind === 'unexport' ? [effect.request] : [])));
  }
}

function outcomeOf(result: EffectResult<unknown> | undefined): EffectOutcome['result'] {
  if (result === undefined) return { ok: false, problem: problemOf(new Error('no answer')) };
  if (!result.ok) return result;
  const { value } = result;
  const formatted = typeof value === 'object' && value !== null && 'formatted' in value && value.formatted === true;
  return { ok: true, formatted };
}
