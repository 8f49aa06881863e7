/** `fcr mount`, `umount`, `mounts`: volumes on this machine, by its agent. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { Failure } from '../../domain/errors.ts';
import type { MountView } from './agent-client.ts';
import { stated } from './arguments.ts';
import type { CliContext, View } from './context.ts';
import { withExamples } from './resource.ts';

const view: View<MountView> = {
  name: (mount) => mount.path,
  columns: [
    { title: 'ID', of: (mount) => mount.id },
    { title: 'VOLUME', of: (mount) => mount.volume },
    { title: 'PATH', of: (mount) => mount.path },
    { title: 'DEVICE', of: (mount) => mount.device },
    { title: 'STATE', of: (mount) => mount.state },
    { title: 'ATTACHMENT', of: (mount) => mount.attachment },
  ],
};

export function addMountCommands(program: Command, context: CliContext): void {
  addMount(program, context);
  addUnmount(program, context);
  const list = program.command('mounts').description('list the volumes that are mounted on this machine');
  list.action(async () => context.showMany(view, await context.agent.mounts()));
  withExamples(list, 'mounts', 'mounts --json');
}

function addMount(program: Command, context: CliContext): void {
  const command = program
    .command('mount')
    .description('attach a volume to this machine, format it if it never was, and mount it')
    .argument('<volume>', 'its name')
    .argument('[path]', 'where; else the agent chooses, and the answer says where')
    .option('--read-only', 'without writing');
  command.action(async (volume: string, path: string | undefined) => {
    const at = path === undefined ? undefined : resolve(context.world.directory, path);
    const wish = { volume, ...stated({ path: at, readOnly: command.opts().readOnly }) };
    context.showOne(view, await context.agent.mount(wish));
  });
  withExamples(command, 'mount data /mnt/data', 'mount data --quiet');
}

function addUnmount(program: Command, context: CliContext): void {
  const command = program
    .command('umount')
    .alias('unmount')
    .description('unmount a volume; the last mount of it also detaches it')
    .argument('<what...>', 'a path, a mount id, or the name of a volume that is mounted once')
    .option(
      '--force',
      'also where a killed container engine left users on record; a process that has it still refuses',
    );
  command.action(async (words: readonly string[]) => {
    for (const word of words) {
      const mount = mountMeant(word, context.world.directory, await context.agent.mounts());
      await context.agent.unmount(mount.id, { force: command.opts().force === true });
      context.say(`${mount.path} unmounted`);
    }
  });
  withExamples(command, 'umount /mnt/data', 'umount data', 'umount --force data');
}

function mountMeant(word: string, directory: string, mounts: readonly MountView[]): MountView {
  const path = resolve(directory, word);
  const exact = mounts.find((mount) => mount.id === word || mount.path === path);
  const meant = exact === undefined ? mounts.filter((mount) => mount.volume === word) : [exact];
  const [first] = meant;
  if (first === undefined) throw new Failure('mount-not-found', `Nothing is mounted here as ${JSON.stringify(word)}.`);
  if (meant.length === 1) return first;
  const paths = meant.map((mount) => mount.path).join(', ');
  throw new Failure('invalid-request', `${word} is mounted more than once; name the path: ${paths}.`);
}
