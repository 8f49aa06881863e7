/** The command line as one function: words in, exit code out. Nothing in it ends the process. */
import { Command, CommanderError } from 'commander';
import { Failure, problemOf } from '../../domain/errors.ts';
import { suppressedOf } from '../../system/suppressed.ts';
import { addAttachmentCommands } from './attachment.ts';
import { CliContext } from './context.ts';
import { addEventCommand } from './event.ts';
import { exitCodeOf, exitCodes, exitCodesHelp } from './exit-code.ts';
import { addFlowPolicyCommands } from './flow-policy.ts';
import { addHostCommands, addStorageNodeCommands } from './host.ts';
import { addMountCommands } from './mount.ts';
import { addOperationCommands } from './operation.ts';
import { addPoolCommands } from './pool.ts';
import { addQosPolicyCommands } from './qos-policy.ts';
import { withExamples } from './resource.ts';
import { addGlobalSettings, addServiceCommands } from './service.ts';
import { addTokenCommands } from './token.ts';
import { addVolumeCommands } from './volume.ts';
import type { CliWorld } from './world.ts';

export async function runCli(words: readonly string[], world: CliWorld): Promise<number> {
  const { program, context } = buildProgram(world);
  try {
    await program.parseAsync([...words], { from: 'user' });
    return exitCodes.success;
  } catch (error) {
    return exitCodeOfError(error, context);
  } finally {
    context.close();
  }
}

export function buildProgram(world: CliWorld): { readonly program: Command; readonly context: CliContext } {
  const program = new Command('fcr')
    .description('Fibre Channel storage redirection for containers')
    .version(world.version, '-V, --version')
    .option('--config <file>', 'the configuration file (FCR_CONFIG)')
    .option('--json', 'answer in JSON')
    .option('-q, --quiet', 'answer with names only')
    .exitOverride()
    .showHelpAfterError('(--help shows how)')
    .configureOutput({ writeOut: (text) => world.out.write(text), writeErr: (text) => world.err.write(text) });
  addGlobalSettings(program);
  const context = new CliContext(world, program);
  program.commandsGroup('Run:');
  addServiceCommands(program, context);
  program.commandsGroup('This machine:');
  addMountCommands(program, context);
  program.commandsGroup('Resources:');
  addPoolCommands(program, context);
  addVolumeCommands(program, context);
  addAttachmentCommands(program, context);
  addFlowPolicyCommands(program, context);
  addQosPolicyCommands(program, context);
  addHostCommands(program, context);
  addStorageNodeCommands(program, context);
  addOperationCommands(program, context);
  addEventCommand(program, context);
  addTokenCommands(program, context);
  withExamples(program, 'standalone', 'volume create data --size 10GiB', 'mount data /mnt/data', 'pool list --json');
  program.addHelpText('after', exitCodesHelp);
  return { program, context };
}

/** Commander has told its own mistakes already; help and version end with 0. */
function exitCodeOfError(error: unknown, context: CliContext): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.success : exitCodes.usage;
  const problem = problemOf(error);
  context.fail(problem);
  if (!(error instanceof Failure) && error instanceof Error) context.warn(error.stack ?? error.message);
  for (const later of suppressedOf(error))
    context.warn(`then: ${later instanceof Error ? later.message : String(later)}`);
  return exitCodeOf(problem);
}
