/** `fcr flow-policy`: which initiator may reach which target, and where it really arrives. */
import type { Command } from 'commander';
import { type FlowPolicy, flowActions } from '../../domain/flow-policy.ts';
import type { FlowDecision } from '../../store/store.ts';
import { choice, nullIfNone, stated, wholeNumber, wwpn } from './arguments.ts';
import type { CliContext, View } from './context.ts';
import { addDelete, addGet, addGroup, addList, present, withExamples } from './resource.ts';

const view: View<FlowPolicy> = {
  name: (policy) => policy.id,
  columns: [
    { title: 'ID', of: (policy) => policy.id },
    { title: 'INITIATOR', of: (policy) => policy.initiatorWwpn ?? 'any' },
    { title: 'TARGET', of: (policy) => policy.targetWwpn ?? 'any' },
    { title: 'NAMESPACE', of: (policy) => policy.namespace },
    { title: 'ACTION', of: (policy) => policy.action },
    { title: 'REDIRECT-TO', of: (policy) => policy.redirectTo },
    { title: 'QOS', of: (policy) => policy.qosPolicy },
    { title: 'STATE', of: (policy) => policy.state },
    { title: 'VERSION', of: (policy) => policy.version },
  ],
};

const decisionView: View<FlowDecision> = {
  name: (decision) => decision.action,
  columns: [
    { title: 'Action', of: (decision) => decision.action },
    { title: 'Reaches', of: (decision) => decision.targetWwpn },
    { title: 'QoS policy', of: (decision) => decision.qosPolicy },
    { title: 'Flow policy', of: (decision) => decision.policy?.id },
    { title: 'Why', of: (decision) => decision.why },
  ],
};

const exampleId = 'flow_01JD0000000000000000000000';
const exampleFlow = '--initiator 20:00:02:42:ac:11:00:02 --target 20:00:02:42:ac:11:00:03';

export function addFlowPolicyCommands(program: Command, context: CliContext): void {
  const group = addGroup(
    program,
    'flow-policy',
    'which initiator may reach which target, and where it arrives',
    `flow-policy create --action deny ${exampleFlow}`,
    `flow-policy resolve ${exampleFlow}`,
    'flow-policy list',
  );
  addList(group, {
    context,
    view,
    about: 'flow policies',
    filters: {
      '--namespace <container>': 'of this container',
      '--initiator <wwpn>': 'for this initiator',
      '--target <wwpn>': 'for this target',
    },
    page: (client, { namespace, initiator, target }, page) => {
      const filter = stated({ namespace, initiatorWwpn: port(initiator), targetWwpn: port(target) });
      return client.flowPolicyList(filter, page);
    },
    examples: ['flow-policy list', 'flow-policy list --namespace 4f9c1b'],
  });
  const examples = [`flow-policy get ${exampleId}`];
  addGet(group, { ...getting(context), view, about: 'a flow policy', argument: '<id>', examples });
  addCreate(group, context);
  addUpdate(group, context);
  addDelete(group, {
    context,
    about: 'flow policies',
    argument: '<id>',
    remove: (client, id, command) => client.flowPolicyDelete(id, stated({ ifVersion: command.opts().ifVersion })),
    examples: [`flow-policy delete ${exampleId}`],
  }).option('--if-version <version>', 'only if nobody has changed it since', wholeNumber);
  addResolve(group, context);
}

function getting(context: CliContext) {
  return {
    context,
    get: (client: CliContext['controller'], id: string) => client.flowPolicyGet(id),
    missing: 'flow-policy-not-found',
  } as const;
}

function port(text: string | undefined): string | undefined {
  return text === undefined ? undefined : wwpn(text);
}

function addCreate(group: Command, context: CliContext): void {
  const command = group
    .command('create')
    .description('decide about a flow; without an initiator or a target: about any')
    .addOption(choice('--action <action>', 'what happens to it', flowActions).makeOptionMandatory())
    .option('--initiator <wwpn>', 'from this initiator port', wwpn)
    .option('--target <wwpn>', 'to this target port', wwpn)
    .option('--namespace <container>', 'for this container only')
    .option('--redirect-to <wwpn>', 'where it arrives instead, with the action redirect', wwpn)
    .option('--qos-policy <name>', 'with this QoS policy');
  command.action(async () => {
    const { action, initiator, target, namespace, redirectTo, qosPolicy } = command.opts();
    const ports = { initiatorWwpn: initiator, targetWwpn: target, redirectTo };
    const wish = { action, ...stated({ ...ports, namespace, qosPolicy }) };
    context.showOne(view, await context.controller.flowPolicyCreate(wish));
  });
  withExamples(
    command,
    `flow-policy create --action deny ${exampleFlow}`,
    `flow-policy create --action redirect ${exampleFlow} --redirect-to 20:00:02:42:ac:11:00:04`,
  );
}

function addUpdate(group: Command, context: CliContext): void {
  const command = group
    .command('update')
    .description('change what happens to the flows of attachments that are made from now on')
    .argument('<id>')
    .addOption(choice('--action <action>', 'what happens to it', flowActions))
    .option('--redirect-to <wwpn>', 'where it arrives instead', wwpn)
    .option('--qos-policy <name>', 'with this QoS policy; none takes it away')
    .option('--if-version <version>', 'only if nobody has changed it since; else as it is now', wholeNumber);
  command.action(async (id: string) => {
    const { action, redirectTo, qosPolicy, ifVersion } = command.opts();
    const version = ifVersion ?? (await present(getting(context), id)).version;
    const change = stated({ action, redirectTo, qosPolicy: nullIfNone(qosPolicy) });
    context.showOne(view, await context.controller.flowPolicyUpdate(id, change, version));
  });
  withExamples(command, `flow-policy update ${exampleId} --action redirect --redirect-to 20:00:02:42:ac:11:00:04`);
}

function addResolve(group: Command, context: CliContext): void {
  const command = group
    .command('resolve')
    .description('explain what happens to a flow, and which policy says so')
    .requiredOption('--initiator <wwpn>', 'from this initiator port', wwpn)
    .requiredOption('--target <wwpn>', 'to this target port', wwpn)
    .option('--namespace <container>', 'of this container');
  command.action(async () => {
    const { initiator, target, namespace } = command.opts();
    const question = { initiatorWwpn: initiator, targetWwpn: target, ...stated({ namespace }) };
    context.showOne(decisionView, await context.controller.flowResolve(question));
  });
  withExamples(command, `flow-policy resolve ${exampleFlow}`);
}
