import type { OperationParams, OperationSpec, OperationType } from '../domain/operation.ts';
import type { OperationDefinition } from './definition.ts';
import { flowPolicyCreate } from './flow-policy-create.ts';
import { flowPolicyDelete } from './flow-policy-delete.ts';
import { volumeAttach } from './volume-attach.ts';
import { volumeCreate } from './volume-create.ts';
import { volumeDelete } from './volume-delete.ts';
import { volumeDetach } from './volume-detach.ts';

type Registry = { readonly [T in OperationType]: OperationDefinition<T> };

const registry: Registry = {
  'volume.create': volumeCreate,
  'volume.delete': volumeDelete,
  'volume.attach': volumeAttach,
  'volume.detach': volumeDetach,
  'flow-policy.create': flowPolicyCreate,
  'flow-policy.delete': flowPolicyDelete,
};

/** The definition bound to its own parameters, whatever the type. */
export function withDefinition<A>(
  spec: OperationSpec,
  use: <T extends OperationType>(definition: OperationDefinition<T>, params: OperationParams[T]) => A,
): A {
  switch (spec.type) {
    case 'volume.create':
      return use(registry[spec.type], spec.params);
    case 'volume.delete':
      return use(registry[spec.type], spec.params);
    case 'volume.attach':
      return use(registry[spec.type], spec.params);
    case 'volume.detach':
      return use(registry[spec.type], spec.params);
    case 'flow-policy.create':
      return use(registry[spec.type], spec.params);
    case 'flow-policy.delete':
      return use(registry[spec.type], spec.params);
  }
}
