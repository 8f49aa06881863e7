import test from 'ava';
import fc from 'fast-check';
import type { FlowAction, FlowPolicy } from '../../src/domain/flow-policy.ts';
import { type FlowQuestion, resolveFlow } from '../../src/domain/flow-resolution.ts';

const initiators = ['20:00:00:00:00:00:00:01', '20:00:00:00:00:00:00:02'];
const targets = ['20:00:00:00:00:00:00:a1', '20:00:00:00:00:00:00:a2'];
const namespaces = ['one', 'two'];

function policy(fields: Partial<FlowPolicy>): FlowPolicy {
  return {
    id: 'flow_1',
    initiatorWwpn: null,
    targetWwpn: null,
    namespace: null,
    action: 'permit',
    redirectTo: null,
    qosPolicy: null,
    state: 'active',
    version: 1,
    createdAt: 0,
    ...fields,
  };
}

const orNull = (values: readonly string[]) => fc.constantFrom(null, ...values);

const questions: fc.Arbitrary<FlowQuestion> = fc.record({
  initiatorWwpn: fc.constantFrom(...initiators),
  targetWwpn: fc.constantFrom(...targets),
  namespace: orNull(namespaces),
});

/** Policies as the store holds them: unique by (initiator, target, namespace). */
const policySets = fc
  .uniqueArray(
    fc.record({
      initiatorWwpn: orNull(initiators),
      targetWwpn: orNull(targets),
      namespace: orNull(namespaces),
      action: fc.constantFrom<FlowAction>('permit', 'deny', 'redirect'),
      state: fc.constantFrom<FlowPolicy['state']>('pending', 'active', 'removing'),
    }),
    { selector: ({ initiatorWwpn, targetWwpn, namespace }) => `${initiatorWwpn}|${targetWwpn}|${namespace}` },
  )
  .map((list) =>
    list.map((fields, index) =>
      policy({
        ...fields,
        id: `flow_${index}`,
        qosPolicy: `qos${index}`,
        redirectTo: fields.action === 'redirect' ? '50:00:00:00:00:00:00:ff' : null,
      }),
    ),
  );

const [initiatorWwpn = '', otherInitiator = ''] = initiators;
const [targetWwpn = '', otherTarget = ''] = targets;
const question: FlowQuestion = { initiatorWwpn, targetWwpn, namespace: 'one' };

test('policies decide in the order namespace and pair, pair, initiator only, target only, any, default', (t) => {
  const ladder = [
    policy({ id: 'namespace-pair', initiatorWwpn, targetWwpn, namespace: 'one' }),
    policy({ id: 'pair', initiatorWwpn, targetWwpn }),
    policy({ id: 'namespace-initiator', initiatorWwpn, namespace: 'one' }),
    policy({ id: 'initiator', initiatorWwpn }),
    policy({ id: 'namespace-target', targetWwpn, namespace: 'one' }),
    policy({ id: 'target', targetWwpn }),
    policy({ id: 'namespace', namespace: 'one' }),
    policy({ id: 'any' }),
  ];
  for (const [index, expected] of ladder.entries()) {
    const decision = resolveFlow(question, ladder.slice(index).reverse(), 'deny');
    t.is(decision.policy?.id, expected.id);
  }
  t.is(resolveFlow(question, [], 'deny').policy, null);
});

test('the default permits or denies what no policy matches', (t) => {
  const others = [policy({ initiatorWwpn: otherInitiator }), policy({ targetWwpn: otherTarget, namespace: 'two' })];
  t.like(resolveFlow(question, others, 'permit'), { action: 'permit', targetWwpn, policy: null });
  t.like(resolveFlow(question, others, 'deny'), { action: 'deny', targetWwpn: null, policy: null });
});

test('a redirect leads to its port in one step', (t) => {
  const first = policy({ id: 'first', targetWwpn, action: 'redirect', redirectTo: otherTarget });
  const second = policy({ id: 'second', targetWwpn: otherTarget, action: 'redirect', redirectTo: targetWwpn });
  const decision = resolveFlow(question, [first, second], 'permit');
  t.like(decision, { action: 'redirect', targetWwpn: otherTarget });
  t.regex(decision.why, /first.*redirects it to 20:00:00:00:00:00:00:a2/);
});

test('an answer names the policy that matches, and no matching policy is more exact', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(questions, policySets, (asked, policies) => {
        const { policy: chosen } = resolveFlow(asked, policies, 'permit');
        const fits = policies.filter((each) => each.state !== 'removing' && covers(each, asked));
        if (chosen === null) return fits.length === 0;
        return fits.includes(chosen) && fits.every((each) => rank(each) <= rank(chosen));
      }),
    ),
  );
});

test('the order of the policies and those that do not match change nothing', (t) => {
  const shuffled = policySets.chain((policies) =>
    fc.tuple(fc.constant(policies), fc.shuffledSubarray([...policies], { minLength: policies.length })),
  );
  t.notThrows(() =>
    fc.assert(
      fc.property(questions, shuffled, (asked, [policies, other]) => {
        const fitting = other.filter((each) => covers(each, asked));
        const answers = [policies, other, fitting].map((list) => JSON.stringify(resolveFlow(asked, list, 'deny')));
        return new Set(answers).size === 1;
      }),
    ),
  );
});

test('a flow that is denied reaches nothing, and every other one exactly one port', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(questions, policySets, (asked, policies) => {
        const decision = resolveFlow(asked, policies, 'permit');
        if (decision.action === 'deny') return decision.targetWwpn === null && decision.qosPolicy === null;
        const expected = decision.action === 'redirect' ? decision.policy?.redirectTo : asked.targetWwpn;
        return decision.targetWwpn === expected && decision.why.length > 0;
      }),
    ),
  );
});

function covers(each: FlowPolicy, asked: FlowQuestion): boolean {
  const fields = ['initiatorWwpn', 'targetWwpn', 'namespace'] as const;
  return fields.every((field) => each[field] === null || each[field] === asked[field]);
}

/** Position in the documented order, spelled out instead of computed. */
function rank(each: FlowPolicy): number {
  const shape = [each.initiatorWwpn, each.targetWwpn, each.namespace].map((value) => (value === null ? '-' : 'x'));
  return ['---', '--x', '-x-', '-xx', 'x--', 'x-x', 'xx-', 'xxx'].indexOf(shape.join(''));
}
