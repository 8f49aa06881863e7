/** `fcr token`: who may talk to the controller. */
import type { Command } from 'commander';
import { roles, type Token } from '../../domain/principal.ts';
import type { CreatedToken } from '../../http/schema/token.ts';
import { choice, durationSeconds, stated } from './arguments.ts';
import type { CliContext, View } from './context.ts';
import { timeOf } from './output.ts';
import { addDelete, addGroup, addList, withExamples } from './resource.ts';

const view: View<Token> = {
  name: (token) => token.id,
  columns: [
    { title: 'ID', of: (token) => token.id },
    { title: 'NAME', of: (token) => token.name },
    { title: 'ROLE', of: (token) => token.role },
    { title: 'HOST', of: (token) => token.host },
    { title: 'CREATED', of: (token) => timeOf(token.createdAt) },
    { title: 'EXPIRES', of: (token) => timeOf(token.expiresAt) },
  ],
};

/** `--quiet` shows the secret alone, for a script to keep. */
const createdView: View<CreatedToken> = {
  name: (token) => token.secret ?? '',
  columns: [...view.columns, { title: 'SECRET', of: (token) => token.secret }],
};

export function addTokenCommands(program: Command, context: CliContext): void {
  const group = addGroup(
    program,
    'token',
    'who may talk to the controller',
    'token create ci --role operator --expires 30d',
    'token list',
    'token delete tok_01JD0000000000000000000000',
  );
  addList(group, {
    context,
    view,
    about: 'tokens, without their secrets',
    page: (client, _, page) => client.tokenList(page),
    examples: ['token list'],
  });
  addCreate(group, context);
  addDelete(group, {
    context,
    about: 'tokens; they stop working at once',
    argument: '<id>',
    remove: (client, id) => client.tokenDelete(id),
    examples: ['token delete tok_01JD0000000000000000000000'],
  });
}

function addCreate(group: Command, context: CliContext): void {
  const command = group
    .command('create')
    .description('create a token; its secret is shown this once')
    .argument('<name>')
    .addOption(choice('--role <role>', 'what it may do', roles).makeOptionMandatory())
    .option('--host <name>', 'the only host that it may act for, with the role host')
    .option('--expires <duration>', 'stops working after, e.g. 12h, 30d; else never', durationSeconds);
  command.action(async (name: string) => {
    const { role, host, expires } = command.opts();
    const wish = { name, role, ...stated({ host, expiresInSeconds: expires }) };
    context.showOne(createdView, await context.controller.tokenCreate(wish));
  });
  withExamples(
    command,
    'token create ci --role operator --expires 30d',
    'token create node1 --role host --host node1 --quiet > node1.token',
  );
}
