/** The agent as a process of its own: what it keeps while it, or its controller, is away. */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import type { ErrorCode } from '../../src/domain/errors.ts';
import { Failure } from '../../src/domain/errors.ts';
import { ControlledMachine, hostName, type ProcessAgent } from '../support/controlled-machine.ts';
import { until } from '../support/daemon.ts';
import { FcrProcess } from '../support/fcr-process.ts';
import { testOf } from '../support/groups.ts';
import { loopsBelow, mountsBelow } from '../support/linux-host-harness.ts';
import { projectRoot, readText } from '../tidy/source-tree.ts';

// Each has several processes, and the machine few cores.
const test = testOf('kernel').serial;

async function refused(t: ExecutionContext, code: ErrorCode, call: Promise<unknown>): Promise<Failure> {
  const failure = await t.throwsAsync(call, { instanceOf: Failure });
  t.is(failure.code, code, failure.message);
  return failure;
}

async function registered(agent: ProcessAgent): Promise<void> {
  await until(async () => (await agent.status()).registration.registered, { what: 'the host is registered' });
}

test('a volume is mounted over TCP with a token of the host, and outlives a killed agent', async (t) => {
  const machine = await ControlledMachine.start(t);
  const agent = await machine.agent('agent');
  await agent.start();
  await registered(agent);
  await machine.client.volumeCreate({ name: 'data' });
  const mount = await agent.mount('data');
  writeFileSync(join(mount.path, 'file'), 'before');
  t.regex(await agent.metrics(), /^fcr_agent_mounts\{state="mounted"\} 1$/m);
  await agent.process.kill();
  writeFileSync(join(mount.path, 'file'), 'while no agent ran');
  await agent.start();
  t.like((await agent.mounts())[0], { id: mount.id, path: mount.path, device: mount.device, state: 'mounted' });
  t.is(readFileSync(join(mount.path, 'file'), 'utf8'), 'while no agent ran');
  await registered(agent);
  await agent.unmount(mount.id);
  t.deepEqual([mountsBelow(join(machine.directory, 'agent')), loopsBelow(machine.directory)], [[], []]);
  await machine.client.volumeDelete('data');
});

test('SIGTERM ends the agent and leaves its mounts', async (t) => {
  const machine = await ControlledMachine.start(t);
  const agent = await machine.agent('agent');
  await agent.start();
  await machine.client.volumeCreate({ name: 'data' });
  const { path } = await agent.mount('data');
  await agent.process.kill('SIGTERM');
  t.true(mountsBelow(machine.directory).includes(path));
});

test('with the controller away mounts stay usable and new ones are refused; it is found again by itself', async (t) => {
  const machine = await ControlledMachine.start(t);
  const agent = await machine.agent('agent');
  await agent.start();
  for (const name of ['data', 'more']) await machine.client.volumeCreate({ name });
  const mount = await agent.mount('data');
  writeFileSync(join(mount.path, 'file'), 'written');
  await machine.controller.kill();
  await refused(t, 'controller-unavailable', agent.mount('more'));
  await refused(t, 'controller-unavailable', agent.unmount(mount.id));
  t.is(readFileSync(join(mount.path, 'file'), 'utf8'), 'written');
  t.like((await agent.mounts())[0], { path: mount.path, state: 'mounted' });
  t.like(await agent.status(), { controller: { reachable: false }, registration: { problem: null } });
  const unready = await refused(
    t,
    'controller-unavailable',
    agent.api.call({ method: 'GET', path: '/readyz', repeatable: true }),
  );
  t.regex(unready.message, /answered 503/);
  await machine.startController();
  await registered(agent);
  await until(async () => (await agent.status()).controller.reachable === true, { what: 'the controller is back' });
  const more = await agent.mount('more');
  for (const { id } of [mount, more]) await agent.unmount(id);
  await until(async () => (await machine.client.attachmentPage()).items.length === 0, { what: 'both are detached' });
});

test('an agent starts without its controller, and registers when that is there', async (t) => {
  const machine = await ControlledMachine.start(t);
  const agent = await machine.agent('agent');
  await machine.controller.kill();
  await agent.start();
  await until(async () => (await agent.status()).controller.reachable === false, { what: 'the controller is missed' });
  await refused(t, 'controller-unavailable', agent.mount('data'));
  await machine.startController();
  await registered(agent);
  t.is((await machine.client.hostGet(hostName))?.state, 'online');
});

test('the unit of the agent lets others start once the agent can mount', async (t) => {
  const machine = await ControlledMachine.start(t);
  const agent = await machine.agent('agent');
  await machine.controller.kill();
  await agent.start();
  const unit = readText('packaging/systemd/fc-redirect-agent.service');
  const [, script = ''] = /^ExecStartPost=-\/usr\/bin\/timeout 30 \/bin\/sh -c '(.*)'$/m.exec(unit) ?? [];
  const env = { PATH: process.env.PATH, FCR_SOCKET_DIRECTORY: agent.directory };
  const waiting = promisify(execFile)(
    'timeout',
    ['60', 'sh', '-c', script.replaceAll('/opt/fc-redirect/', projectRoot)],
    { env },
  );
  await machine.startController();
  await waiting;
  t.true((await agent.status()).registration.registered);
});

test('HAZARDS 13: another machine under the name of a host is refused, though it has a token of it', async (t) => {
  const machine = await ControlledMachine.start(t);
  const agent = await machine.agent('agent');
  await agent.start();
  await registered(agent);
  const machineId = join(machine.directory, 'machine-id');
  writeFileSync(machineId, `${'c'.repeat(32)}\n`);
  const asOther = ['unshare', '--mount', 'sh', '-c', 'mount --bind "$0" /etc/machine-id && exec "$@"', machineId];
  const clone = await machine.agent('clone', { within: asOther });
  await clone.start();
  const { registration } = await conflict(clone);
  t.is(registration.problem?.code, 'host-conflict');
  t.regex(registration.problem?.detail ?? '', /is another machine/);
  t.regex(clone.process.log, /the controller refuses this host/);
  await machine.client.volumeCreate({ name: 'data' });
  await refused(t, 'host-conflict', clone.mount('data'));
  t.deepEqual((await machine.client.attachmentPage()).items, []);
  t.true((await agent.status()).registration.registered);
});

test('HAZARDS 13: a host that registered with one token is refused with another while the first lives', async (t) => {
  const machine = await ControlledMachine.start(t);
  const first = await machine.agent('first');
  await first.start();
  await registered(first);
  await first.process.kill();
  const second = await machine.agent('second');
  await second.start();
  t.is((await conflict(second)).registration.problem?.code, 'host-conflict');
  const { items } = await machine.client.tokenList();
  await machine.client.tokenDelete(items.find(({ name }) => name === 'agent-first')?.id ?? '');
  await registered(second);
  t.is((await second.status()).registration.problem, null);
});

async function conflict(agent: ProcessAgent) {
  await until(async () => (await agent.status()).registration.problem !== null, { what: 'the host is refused' });
  return await agent.status();
}

test('HAZARDS 4: a second agent on one data directory does not start', async (t) => {
  const machine = await ControlledMachine.start(t);
  const agent = await machine.agent('agent');
  await agent.start();
  const settings = { DATA_DIR: join(agent.directory, 'data'), SOCKET_DIRECTORY: machine.directory, HOST_MODE: 'linux' };
  const second = new FcrProcess({ directory: machine.directory, words: ['agent'], settings });
  second.run();
  await second.ended();
  t.regex(second.log, /is in use by process \d+\. \(directory-in-use\)/);
});

test('where no storage node keeps exports, the agent says that no path leads anywhere, and mounts are refused so', async (t) => {
  const machine = await ControlledMachine.start(t);
  const directory = join(machine.directory, 'elsewhere');
  const agent = await machine.agent('elsewhere', { within: ['env', `FCR_HOST_EXPORTS_DIRECTORY=${directory}/none`] });
  await agent.start();
  await registered(agent);
  await machine.client.volumeCreate({ name: 'data' });
  const failure = await refused(t, 'host-unreachable-paths', agent.mount('data'));
  t.regex(failure.message, /No online port of the host shares a fabric/);
  t.regex(agent.process.log, /no path leads from this machine to any volume/);
  t.like((await agent.status()).ports.at(-1), { fabric: 'local', state: 'offline' });
});
