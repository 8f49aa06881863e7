/** The long-running programs, and the configuration that they would run with. */
import type { Command } from 'commander';
import { environmentVariableOf, flagOf, type SettingKey, settingKeys, settings } from '../../config/settings.ts';
import { Failure } from '../../domain/errors.ts';
import { addAgentStatus } from './agent-status.ts';
import type { CliContext } from './context.ts';
import { jsonOf, tableOf } from './output.ts';
import { addGroup, withExamples } from './resource.ts';

const ofClients: readonly SettingKey[] = ['server', 'serverCa', 'token', 'tokenFile'];
/** Of what asks a controller and ends. */
const ofVerbs: readonly SettingKey[] = [...ofClients, 'requestTimeout'];
const ofPlaces: readonly SettingKey[] = ['dataDir', 'socketDirectory'];
/** These are options of the program itself: every verb has them. */
export const globalSettings: readonly SettingKey[] = [...ofPlaces, ...ofVerbs];

/** Of a host and its agent; the controller has no use for them. */
const ofAgents: readonly SettingKey[] = [
  ...(['host.mode', 'host.exportsDirectory', 'host.volumesDirectory', 'reconcile.attachments'] as const),
  ...settingKeys.filter((key) => /^(?:docker|agent)\./.test(key)),
];
/** What each program reads. The flag of another setting is refused: it would change nothing. */
export const programSettings: Readonly<Record<'standalone' | 'controller' | 'agent' | 'adopt', readonly SettingKey[]>> =
  {
    // It reaches its own controller by itself, which cannot be away.
    standalone: settingKeys.filter((key) => !ofVerbs.includes(key) && key !== 'agent.controllerTimeout'),
    controller: settingKeys.filter((key) => !ofVerbs.includes(key) && !ofAgents.includes(key)),
    agent: [
      ...[...ofPlaces, ...ofClients, ...ofAgents],
      ...(['host.name', 'storageNode.kind', 'log.level', 'log.format'] as const),
    ],
    adopt: ofPlaces,
  };

export function addServiceCommands(program: Command, context: CliContext): void {
  const standalone = withSettings(
    program.command('standalone').description('run everything in one process: API, workers, storage node, agent'),
    programSettings.standalone,
  );
  standalone.action(async () => context.world.services.standalone(context.configuration(standalone).config));
  withExamples(
    standalone,
    'standalone',
    'standalone --data-dir /srv/fcr --listen 127.0.0.1:9090',
    'standalone --host-mode simulated --log-format json',
  );
  addController(program, context);
  addAgent(program, context);
  addAdopt(program, context);
  const group = addGroup(program, 'config', 'the configuration', 'config print', 'config print --json');
  addPrint(group, context);
}

function addController(program: Command, context: CliContext): void {
  const command = withSettings(
    program
      .command('controller')
      .description('run API, workers and storage node, without an agent')
      .option('--no-worker', 'the API only: any number of replicas (store postgres, queue bullmq)')
      .option('--worker-only', 'the workers and the storage node only (store postgres, queue bullmq)'),
    programSettings.controller,
  );
  command.action(async () => {
    const { worker, workerOnly } = command.opts();
    if (workerOnly === true && worker === false) throw new Failure('invalid-request', 'That leaves nothing to run.');
    const parts = { api: workerOnly !== true, worker: worker !== false };
    await context.world.services.controller(context.configuration(command).config, parts);
  });
  withExamples(
    command,
    'controller',
    'controller --listen 0.0.0.0:8080 --tls-cert /etc/fc-redirect/tls.pem --tls-key /etc/fc-redirect/tls.key',
    'controller --no-worker --store postgres --postgres-url postgres://fcr@db/fcr --queue bullmq --redis-url redis://redis',
    'controller --worker-only --config /etc/fc-redirect/fcr.yaml',
  );
}

function addAgent(program: Command, context: CliContext): void {
  const command = withSettings(
    program.command('agent').description('run the agent of this machine: a client of the controller, for its mounts'),
    programSettings.agent,
  );
  command.action(async () => context.world.services.agent(context.configuration(command).config));
  withExamples(
    command,
    'agent --server https://controller:8080 --server-ca /etc/fc-redirect/ca.pem --token-file /etc/fc-redirect/agent.token',
    'agent --server /run/fc-redirect/controller.sock',
    'agent --server http://127.0.0.1:8080 --token-file /etc/fc-redirect/agent.token --host-exports-directory /srv/fcr/exports --host-volumes-directory /srv/fcr/volumes',
    'agent status',
  );
  addAgentStatus(command, context);
}

function addAdopt(program: Command, context: CliContext): void {
  const command = withSettings(
    program
      .command('adopt')
      .description('let the present store own the data of this machine, after a restore or a move')
      .option('--yes', 'it is meant: what the store does not know will be removed'),
    programSettings.adopt,
  );
  command.action(async () => {
    if (command.opts().yes !== true)
      throw new Failure('invalid-request', 'Volumes that this store does not know will be removed; --yes confirms it.');
    for (const sentence of await context.world.services.adopt(context.configuration(command).config))
      context.say(sentence);
  });
  withExamples(command, 'adopt --yes');
}

function addPrint(group: Command, context: CliContext): void {
  const about = 'show every setting and where its value comes from';
  const command = withSettings(group.command('print').description(about), settingKeys);
  command.action(() => {
    const { sources, file } = context.configuration(command);
    const columns = [
      { title: 'SETTING', of: (item: (typeof sources)[number]) => item.key },
      { title: 'VALUE', of: (item: (typeof sources)[number]) => item.value },
      { title: 'SOURCE', of: (item: (typeof sources)[number]) => item.source },
    ];
    context.world.out.write(context.isJson ? jsonOf({ file, settings: sources }) : tableOf(columns, sources));
  });
  withExamples(command, 'config print', 'config print --config ./fcr.yaml --listen 0.0.0.0:8080');
}

function withSettings(command: Command, keys: readonly SettingKey[]): Command {
  command.optionsGroup('Settings (each also in fcr.yaml, which --config names, and as FCR_... in the environment):');
  for (const key of settingKeys) {
    if (keys.includes(key)) command.option(`${flagOf(key)} <value>`, settings[key].about);
  }
  return command;
}

export function addGlobalSettings(program: Command): void {
  for (const key of globalSettings) {
    program.option(`${flagOf(key)} <value>`, `${settings[key].about} (${environmentVariableOf(key)})`);
  }
}
