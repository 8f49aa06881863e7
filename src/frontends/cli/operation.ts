/** `fcr operation`: what was asked for, and what became of it; and many operations at once. */
import type { Command } from 'commander';
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import type { BatchRequest } from '../../http/client.ts';
import type { BatchView, OperationView } from '../../http/schema/operation.ts';
import { durationSeconds, stated } from './arguments.ts';
import type { CliContext, View } from './context.ts';
import { timeOf } from './output.ts';
import { addGet, addGroup, addList, withExamples } from './resource.ts';

const view: View<OperationView> = {
  name: (operation) => operation.id,
  columns: [
    { title: 'ID', of: (operation) => operation.id },
    { title: 'TYPE', of: (operation) => operation.type },
    { title: 'STATE', of: (operation) => operation.state },
    { title: 'RESOURCE', of: (operation) => operation.resource?.id },
    { title: 'PROBLEM', of: (operation) => operation.problem?.code },
    { title: 'BY', of: (operation) => operation.requestedBy },
    { title: 'ACCEPTED', of: (operation) => timeOf(operation.acceptedAt) },
  ],
  details: [
    { title: 'Id', of: (operation) => operation.id },
    { title: 'Batch', of: (operation) => operation.batch },
    { title: 'Type', of: (operation) => operation.type },
    { title: 'State', of: (operation) => operation.state },
    { title: 'Resource', of: (operation) => operation.resource?.id },
    { title: 'Problem', of: (operation) => problemOf(operation) },
    { title: 'Requested by', of: (operation) => operation.requestedBy },
    { title: 'Accepted', of: (operation) => timeOf(operation.acceptedAt) },
    { title: 'Ended', of: (operation) => timeOf(operation.endedAt) },
  ],
};

function problemOf({ problem }: OperationView): string | null {
  return problem === undefined ? null : `${problem.detail} (${problem.code})`;
}

export function addOperationCommands(program: Command, context: CliContext): void {
  const group = addGroup(
    program,
    'operation',
    'what was asked for, and what became of it',
    'operation list --state failed',
    'operation get bat_01JD0000000000000000000000-0',
    'operation submit --file batch.json',
  );
  addList(group, {
    context,
    view,
    about: 'operations, newest first',
    filters: {
      '--state <state>': 'in this state: accepted, running, succeeded or failed',
      '--type <type>': 'of this type, e.g. volume.create',
    },
    page: (client, { state, type }, page) => client.operationList(stated({ state, type }), page),
    examples: [
      'operation list',
      'operation list --state running',
      'operation list --state failed --type volume.attach',
    ],
  });
  addGet(group, {
    context,
    view,
    about: 'an operation',
    argument: '<id>',
    get: (client, id) => client.operationGet(id),
    missing: 'operation-not-found',
    examples: ['operation get bat_01JD0000000000000000000000-0'],
  });
  addSubmit(group, context);
}

function addSubmit(group: Command, context: CliContext): void {
  const command = group
    .command('submit')
    .description('submit up to 1,000 operations at once, and wait for them')
    .requiredOption('--file <path>', 'a JSON batch; - reads standard input')
    .option('--idempotency-key <key>', 'the same key and batch again change nothing')
    .option('--wait <duration>', 'answer after at most, e.g. 30s; 0s: as soon as it is durable', durationSeconds, 30);
  command.action(async () => {
    const { file, idempotencyKey, wait } = command.opts();
    const waitMs = Math.min(wait * 1000, limits.waitMs);
    const { requestTimeoutMs } = context.configuration().config.client;
    const deadlineMs = waitMs + (requestTimeoutMs ?? limits.waitMs);
    const options = { waitMs, deadlineMs, ...stated({ key: idempotencyKey }) };
    showBatch(context, await context.controller.batchSubmit(batchIn(context, file), options));
  });
  withExamples(
    command,
    'operation submit --file batch.json',
    `operation submit --file - <<< '{"operations": [{"type": "volume.create", "params": {"name": "a"}}]}'`,
  );
}

function batchIn(context: CliContext, file: string): BatchRequest {
  const text = file === '-' ? context.world.readInput() : contentOf(context, file);
  try {
    return JSON.parse(text) as BatchRequest;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Failure('malformed-body', `${file === '-' ? 'Standard input' : file} is not JSON: ${why}.`, { cause });
  }
}

function contentOf(context: CliContext, file: string): string {
  try {
    return context.world.readFile(file);
  } catch (cause) {
    throw new Failure('invalid-request', `${file} cannot be read.`, { field: 'file', cause });
  }
}

/** The batch itself was taken: an operation that failed decides the exit code all the same. */
function showBatch(context: CliContext, batch: BatchView): void {
  if (context.isJson) context.showOne({ name: () => batch.id, columns: [] }, batch);
  else context.showMany(view, batch.operations);
  const problem = batch.operations.find((operation) => operation.problem !== undefined)?.problem;
  if (problem !== undefined) throw new Failure(problem.code, problem.detail);
}
