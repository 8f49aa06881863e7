import type { PartCondition } from '../../operations/control-plane.ts';
import * as out from './output.ts';

export interface Health {
  readonly status: 'ok';
}

export const healthSchema = out.named<Health>(
  'Health',
  out.object<Health>('The process answers.', { status: out.oneOf(['ok'], 'Always `ok`.') }),
);

export interface Readiness {
  readonly status: 'ready' | 'degraded' | 'not-ready';
  readonly unready: readonly PartCondition[];
  readonly degraded: readonly PartCondition[];
}

const condition = out.object<PartCondition>('A part that is not as it should be.', {
  part: out.text('Name of the part.', 'store'),
  reason: out.text('What is wrong, for people.', 'The store does not answer.'),
});

export const readinessSchema = out.named<Readiness>(
  'Readiness',
  out.object<Readiness>('Whether requests can be served.', {
    status: out.oneOf(['ready', 'degraded', 'not-ready'], '`degraded`: requests are served, some refused or late.'),
    unready: out.listOf(condition, 'What keeps requests from being served or carried out; the status is then 503.'),
    degraded: out.listOf(condition, 'What some requests are refused for, or late by; the status is 200 all the same.'),
  }),
);
