import type { Unready } from '../../operations/control-plane.ts';
import * as out from './output.ts';

export interface Health {
  readonly status: 'ok';
}

export const healthSchema = out.named<Health>(
  'Health',
  out.object<Health>('The process answers.', { status: out.oneOf(['ok'], 'Always `ok`.') }),
);

export interface Readiness {
  readonly status: 'ready' | 'not-ready';
  readonly unready: readonly Unready[];
}

const unready = out.object<Unready>('A part that is not ready.', {
  part: out.text('Name of the part.', 'store'),
  reason: out.text('What is wrong, for people.', 'The store does not answer.'),
});

export const readinessSchema = out.named<Readiness>(
  'Readiness',
  out.object<Readiness>('Whether requests can be served.', {
    status: out.oneOf(['ready', 'not-ready'], 'Whether everything is ready.'),
    unready: out.listOf(unready, 'The parts that are not ready; empty when everything is.'),
  }),
);
