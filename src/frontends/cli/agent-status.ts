/** `fcr agent status`: how this machine's agent is, and what keeps it from mounting. */
import type { Command } from 'commander';
import type { AgentStatusView } from './agent-client.ts';
import type { CliContext, View } from './context.ts';
import { portsOf } from './host.ts';
import { timeOf } from './output.ts';
import { withExamples } from './resource.ts';

const view: View<AgentStatusView> = {
  name: (status) => status.host,
  columns: [
    { title: 'Host', of: (status) => status.host },
    { title: 'Devices', of: ({ capabilities }) => devicesOf(capabilities) },
    { title: 'Initiator ports', of: (status) => portsOf(status.ports) },
    { title: 'Controller', of: ({ controller }) => reachabilityOf(controller) },
    { title: 'Last answer', of: ({ controller }) => timeOf(controller.lastAnswerAt) },
    { title: 'Registered', of: ({ registration }) => registrationOf(registration) },
    { title: 'Reconciled', of: ({ lastReconcile }) => timeOf(lastReconcile?.at ?? null) },
    { title: 'Trouble', of: ({ lastReconcile }) => lastReconcile?.problem },
    { title: 'Mounts', of: ({ mounts }) => mountsOf(mounts) },
  ],
};

export function addAgentStatus(agent: Command, context: CliContext): void {
  const command = agent.command('status').description('show how the agent of this machine is');
  command.action(async () => context.showOne(view, await context.agent.status()));
  withExamples(command, 'agent status', 'agent status --json');
}

function devicesOf({ simulated, reasons }: AgentStatusView['capabilities']): string {
  return simulated ? `simulated: ${reasons.join('; ')}` : 'real';
}

function reachabilityOf({ reachable, problem }: AgentStatusView['controller']): string {
  if (reachable === null) return 'not asked yet';
  return reachable ? 'reachable' : `away: ${problem ?? 'no reason is known'}`;
}

function registrationOf({ registered, problem }: AgentStatusView['registration']): string {
  if (problem !== null) return `refused: ${problem.detail} (${problem.code})`;
  return registered ? 'yes' : 'not yet';
}

function mountsOf(mounts: AgentStatusView['mounts']): string {
  const some = Object.entries(mounts).filter(([, count]) => count > 0);
  return some.length === 0 ? 'none' : some.map(([state, count]) => `${count} ${state}`).join(', ');
}
