/** `fcr events`: changes of state, as they happen. */
import type { Command } from 'commander';
import type { Event } from '../../domain/event.ts';
import type { CliContext } from './context.ts';
import { timeOf } from './output.ts';
import { withExamples } from './resource.ts';

export function addEventCommand(program: Command, context: CliContext): void {
  const command = program
    .command('events')
    .description('show changes of state as they happen, over lost connections, until interrupted')
    .option('--after <cursor>', 'after this event; start: from the oldest kept; else from now on');
  command.action(async () => {
    const after: string | null = command.opts().after ?? null;
    const signal = context.world.interrupted();
    const onLost = (reason: string) =>
      context.warn(`the connection to the controller was lost and is resumed: ${reason}`);
    const events = context.controller.eventsFollowed(after, { signal, onLost });
    for await (const event of events) context.world.out.write(line(context, event));
  });
  withExamples(command, 'events', 'events --json | jq -r .id', 'events --after start', 'events --after 1041.0');
}

/** With `--json` one object a line. */
function line(context: CliContext, event: Event): string {
  if (context.isJson) return `${JSON.stringify(event)}\n`;
  const words = [timeOf(event.at), event.cursor, event.kind, event.name ?? event.id, event.state];
  return `${words.join('  ')}\n`;
}
