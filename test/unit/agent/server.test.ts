import { once } from 'node:events';
import { rename, stat, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { MountView } from '../../../src/agent/mount-schema.ts';
import { agentOpenApiDocument } from '../../../src/agent/openapi-document.ts';
import { serveAgentStatus } from '../../../src/agent/server.ts';
import { type RunningAgent, startAgent } from '../../../src/agent/start.ts';
import { Failure } from '../../../src/domain/errors.ts';
import { type Call, ClientTransport } from '../../../src/http/client-transport.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { AgentWorld, hostName } from '../../support/agent-world.ts';

interface Served {
  readonly world: AgentWorld;
  readonly running: RunningAgent;
  readonly socketPath: string;
  readonly client: ClientTransport;
}

async function startOver(world: AgentWorld, socketPath: string, options: { socketMode?: 0o660 } = {}) {
  const stateDirectory = join(world.directory, 'agent');
  const { controller, host } = world;
  return await startAgent({ controller, host, stateDirectory, socketPath, hostName, logger: silentLog, ...options });
}

async function serve(t: ExecutionContext, options: { socketMode?: 0o660 } = {}): Promise<Served> {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const socketPath = join(world.directory, 'agent.sock');
  const running = await startOver(world, socketPath, options);
  const client = new ClientTransport({ endpoint: { socketPath } });
  t.teardown(async () => {
    client.close();
    await running.close();
  });
  return { world, running, socketPath, client };
}

const post = (body: unknown): Call => ({ method: 'POST', path: '/v1/mounts', body, repeatable: false });
const remove = (id: string): Call => ({ method: 'DELETE', path: `/v1/mounts/${id}`, repeatable: false });
const get = (path: string): Call => ({ method: 'GET', path, repeatable: true });

async function refusal(t: ExecutionContext, call: Promise<unknown>): Promise<Failure['problem']> {
  const error = await t.throwsAsync(call, { instanceOf: Failure });
  return error.problem;
}

test('a volume is mounted, listed and unmounted over the socket', async (t) => {
  const { client, world } = await serve(t);
  const made = await client.call(post({ volume: 'data', path: '/mnt/data', mode: '0750' }));
  const mount = made.body as MountView;
  t.is(made.status, 201);
  t.like(mount, { volume: 'data', path: '/mnt/data', device: '/dev/loop1', attachment: 'att_1', state: 'mounted' });
  t.is((await client.call(post({ volume: 'data', path: '/mnt/data', mode: 0o750, uid: null }))).status, 200);
  t.deepEqual((await client.call(get('/v1/mounts'))).body, { items: [mount] });
  t.is((await client.call(remove(mount.id))).status, 204);
  t.deepEqual((await client.call(get('/v1/mounts'))).body, { items: [] });
  t.is(world.host.devices.length, 0);
});

test('refusals are problems that name the field', async (t) => {
  const { client } = await serve(t);
  t.like(await refusal(t, client.call(post({}))), { code: 'invalid-request', field: 'volume' });
  t.like(await refusal(t, client.call(post({ volume: 'data', colour: 1 }))), { field: 'colour' });
  t.like(await refusal(t, client.call(post({ volume: 'data', uid: -1 }))), { field: 'uid' });
  t.like(await refusal(t, client.call(post({ volume: 'data', mode: '999' }))), { field: 'mode' });
  t.like(await refusal(t, client.call(post({ volume: 'data', path: 'relative' }))), { field: 'path' });
  t.like(await refusal(t, client.call(post({ volume: 'none' }))), { code: 'volume-not-found' });
  for (const call of [remove('mnt_1?forced=true'), get('/v1/mounts?volume=data'), get('/v1/status?verbose=1')]) {
    t.like(await refusal(t, client.call(call)), { code: 'invalid-request', field: /\?(\w+)=/.exec(call.path)?.[1] });
  }
  t.like(await refusal(t, client.call(remove('mnt_none'))), { code: 'mount-not-found' });
  t.like(await refusal(t, client.call(get('/v1/nothing'))), { code: 'route-not-found' });
});

test('the document of the local API and a page that shows it are served', async (t) => {
  const { client } = await serve(t);
  t.deepEqual((await client.call(get('/openapi.json'))).body, await agentOpenApiDocument());
  const page = await client.call(get('/docs'));
  t.regex(String(page.body), /swagger-ui/);
  t.notRegex(String(page.headers['content-security-policy']), /upgrade-insecure-requests/);
});

test('the status tells host, ports, capabilities, reachability and the last reconcile', async (t) => {
  const { client, running } = await serve(t);
  await running.reconcile();
  const { body } = await client.call(get('/v1/status'));
  t.like(body, { host: hostName, capabilities: { simulated: true }, mounts: { mounted: 0 } });
  t.like(body, { controller: { reachable: true }, lastReconcile: { problem: null } });
});

test('probes and Prometheus are answered on the socket', async (t) => {
  const { client, running, world } = await serve(t);
  await running.reconcile();
  t.deepEqual((await client.call(get('/healthz'))).body, { status: 'ok' });
  t.deepEqual((await client.call(get('/readyz'))).body, { status: 'ready', unready: [] });
  await client.call(post({ volume: 'data', path: '/mnt/data' }));
  t.like(await refusal(t, client.call(post({ volume: 'none' }))), { code: 'volume-not-found' });
  for (const call of [remove('mnt_1?forced=true'), get('/v1/mounts?volume=data'), get('/v1/status?verbose=1')]) {
    t.like(await refusal(t, client.call(call)), { code: 'invalid-request', field: /\?(\w+)=/.exec(call.path)?.[1] });
  }
  const metrics = String((await client.call(get('/metrics'))).body);
  for (const line of [
    'fcr_agent_mounts{state="mounted"} 1',
    'fcr_agent_controller_reachable 1',
    'fcr_agent_registered 1',
    'fcr_agent_store_foreign 0',
    'fcr_agent_errors_total{action="mount",code="volume-not-found"} 1',
    'fcr_agent_action_duration_seconds_count{action="mount",outcome="succeeded"} 1',
    ...['export', 'attach', 'mount'].map((phase) => `fcr_agent_phase_duration_seconds_count{phase="${phase}"} 1`),
  ]) {
    t.true(metrics.split('\n').includes(line), line);
  }
  const call = { ...get('/readyz'), alsoAnswer: 503 } as const;
  world.controller.emptyStore();
  await running.reconcile();
  t.like((await client.call(call)).body, { status: 'not-ready', unready: [{ part: 'store' }] });
  t.regex(String((await client.call(get('/metrics'))).body), /^fcr_agent_store_foreign 1$/m);
  t.like((await client.call(get('/v1/status'))).body, { store: { id: 'store-1' } });
  world.controller.away = true;
  await running.reconcile();
  t.like((await client.call(call)).body, { status: 'not-ready', unready: [{ part: 'controller' }] });
});

test('with the port, the same is answered there without mounts', async (t) => {
  const { running } = await serve(t);
  const listen = { host: '127.0.0.1', port: 0 };
  const { port, close } = await serveAgentStatus({ agent: running.agent, metrics: running.metrics, listen });
  t.teardown(close);
  const client = new ClientTransport({ endpoint: { url: `http://127.0.0.1:${port}` }, maxTries: 1 });
  t.teardown(() => client.close());
  t.regex(String((await client.call(get('/metrics'))).body), /fcr_agent_mounts/);
  t.like(await refusal(t, client.call(get('/v1/mounts'))), { code: 'route-not-found' });
});

test('the socket is for its owner alone unless a group is allowed', async (t) => {
  const alone = await serve(t);
  t.is((await stat(alone.socketPath)).mode & 0o777, 0o600);
  const shared = await serve(t, { socketMode: 0o660 });
  t.is((await stat(shared.socketPath)).mode & 0o777, 0o660);
});

test('a socket that answers is not taken over, a dead one is', async (t) => {
  const { world, socketPath } = await serve(t);
  const error = await t.throwsAsync(startOver(world, socketPath), { instanceOf: Failure });
  t.is(error.code, 'resource-in-use');
  const dead = join(world.directory, 'dead.sock');
  await leaveSocket(dead);
  const second = await startOver(world, dead);
  await second.close();
  t.pass();
});

test('a file that is no socket is not taken for a dead one', async (t) => {
  const { world } = await serve(t);
  const file = join(world.directory, 'file');
  await writeFile(file, 'content');
  const error = await t.throwsAsync(startOver(world, file), { instanceOf: Failure });
  t.is(error.code, 'resource-in-use');
  t.is((await stat(file)).size, 7);
});

/** As a process leaves it that was killed. */
async function leaveSocket(path: string): Promise<void> {
  const server = net.createServer().listen(`${path}.made`);
  await once(server, 'listening');
  await rename(`${path}.made`, path);
  server.close();
  await once(server, 'close');
}

test('closing leaves the mounts, and the next agent knows them', async (t) => {
  const { world, running, client, socketPath } = await serve(t);
  await client.call(post({ volume: 'data', path: '/mnt/data' }));
  await running.close();
  t.is(world.host.mounts.length, 1);
  const next = await startOver(world, socketPath);
  t.like(next.agent.mounts()[0], { path: '/mnt/data', state: 'mounted' });
  await next.close();
});
