import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Failure } from '../../src/domain/errors.ts';
import type { Event } from '../../src/domain/event.ts';
import { ControllerClient } from '../../src/http/client.ts';
import { listen } from '../../src/http/listeners.ts';
import { Api } from '../support/api.ts';
import { ControlPlaneWorld } from '../support/control-plane-world.ts';

interface Running {
  readonly world: ControlPlaneWorld;
  readonly api: Api;
  readonly port: number;
  readonly socketPath: string;
  readonly overSocket: ControllerClient;
  client(token: string): ControllerClient;
}

async function start(t: ExecutionContext): Promise<Running> {
  const directory = mkdtempSync(join(tmpdir(), 'fcr-api-'));
  const world = await ControlPlaneWorld.open();
  const api = await Api.over(world.controlPlane, { ready: false });
  const socketPath = join(directory, 'controller.sock');
  const { port } = await listen(api.app, { tcp: { host: '127.0.0.1', port: 0 }, unix: { path: socketPath } });
  const clients: ControllerClient[] = [];
  const made = (options: ConstructorParameters<typeof ControllerClient>[0]) => {
    const client = new ControllerClient(options);
    clients.push(client);
    return client;
  };
  t.teardown(async () => {
    for (const client of clients) client.close();
    await api.close();
    await world.close();
    rmSync(directory, { recursive: true });
  });
  return {
    world,
    api,
    port: port ?? 0,
    socketPath,
    overSocket: made({ endpoint: { socketPath } }),
    client: (token) => made({ endpoint: { url: `http://127.0.0.1:${port}` }, token }),
  };
}

test('the unix socket is for its owner only and makes the caller the administrator', async (t) => {
  const { socketPath, overSocket } = await start(t);
  t.is(statSync(socketPath).mode & 0o777, 0o600);
  const volume = await overSocket.volumeCreate({ name: 'data', sizeBytes: '1GiB' });
  t.is(volume.name, 'data');
  t.is((await overSocket.operationList()).items[0]?.requestedBy, 'unix-socket');
});

test('a client knows whether its token may delete volumes before it gives anything up for that', async (t) => {
  const { client, api, world, overSocket } = await start(t);
  const before = await world.state();
  for (const allowed of [overSocket, client(api.tokens.admin), client(api.tokens.operator)]) {
    await t.notThrowsAsync(allowed.volumeDeletable());
  }
  for (const role of ['host', 'viewer'] as const) {
    await t.throwsAsync(client(api.tokens[role]).volumeDeletable(), { code: 'forbidden' });
  }
  await t.throwsAsync(client('unknown').volumeDeletable(), { code: 'unauthenticated' });
  t.is(await world.state(), before);
  t.deepEqual((await overSocket.operationList()).items, []);
});

test('over TCP nobody is trusted without a token', async (t) => {
  const { client, api } = await start(t);
  await t.throwsAsync(client('fcr_wrong').volumeList(), {
    instanceOf: Failure,
    message: /unknown, expired or revoked/,
  });
  t.deepEqual((await client(api.tokens.viewer).volumeList()).items, []);
});

test('the client speaks of every resource', async (t) => {
  const { client, api } = await start(t);
  const admin = client(api.tokens.admin);
  await admin.poolCreate({ name: 'fast', backend: 'file', volumeSizeBytes: '1GiB', minFree: 1, maxVolumes: 5 });
  t.is((await admin.poolUpdate('fast', { minFree: 2 }, 1)).version, 2);
  const ports = [{ wwpn: '20000002000000a1', fabric: 'local', state: 'online', synthesized: true } as const];
  const host = { name: 'node1', machineId: 'm', bootId: 'b', simulated: true, initiatorPorts: ports };
  t.is((await admin.hostRegister(host)).name, 'node1');
  await admin.volumeCreate({ name: 'data', pool: 'fast' });
  t.is((await admin.volumeGet('data'))?.name, 'data');
  t.is(await admin.volumeGet('other'), null);
  const attachment = await admin.attachmentCreate({ volume: 'data', host: 'node1' });
  t.is((await admin.attachmentList({ host: 'node1' })).length, 1);
  const report = {
    attachment: attachment.id,
    epoch: 1,
    host: 'node1',
    bootId: 'b',
    side: 'attached',
    proof: null,
  } as const;
  t.is((await admin.hostStateReport(report)).hostSide, 'attached');
  const stale = await t.throwsAsync(admin.hostStateReport({ ...report, epoch: 9 }), { instanceOf: Failure });
  t.is(stale?.code, 'stale-epoch');
  await admin.hostStateReport({ ...report, side: 'gone' });
  await admin.attachmentDelete(attachment.id);
  await admin.attachmentDelete(attachment.id);
  await admin.volumeDelete('data');
  const missing = await t.throwsAsync(admin.volumeDelete('data'), { instanceOf: Failure });
  t.is(missing?.code, 'volume-not-found');
  const policy = await admin.flowPolicyCreate({ action: 'deny', initiatorWwpn: '20000002000000a0' });
  t.is((await admin.flowPolicyUpdate(policy.id, { action: 'permit' }, policy.version)).action, 'permit');
  await admin.flowPolicyDelete(policy.id);
  t.true((await admin.inventoryBegin('node1')).sequence > 0);
  const params = { name: 'b', sizeBytes: '1GiB' };
  const batch = await admin.batchSubmit({ operations: [{ type: 'volume.create', params }] });
  t.is(batch.operations[0]?.state, 'succeeded');
  t.is((await admin.readiness()).status, 'ready');
  t.is(typeof (await admin.metricsText()), 'string');
  t.is((await admin.tokenList()).items.length, 4);
});

test('the client follows an operation that was accepted until it ends', async (t) => {
  const { client, api, world } = await start(t);
  const fault = world.node.inject({ effect: 'delay', kind: 'provision' });
  const admin = client(api.tokens.admin);
  const accepted = admin.volumeCreate({ name: 'late', sizeBytes: '1GiB' }, { waitMs: 1 });
  while ((await world.store.backlog()).runningBatches === 0) await immediately();
  fault.release();
  t.is((await accepted).name, 'late');
});

test('an operation that does not end before the deadline is named in the failure', async (t) => {
  const { client, api, world } = await start(t);
  const fault = world.node.inject({ effect: 'delay', kind: 'provision' });
  t.teardown(() => fault.release());
  const wanted = { name: 'late', sizeBytes: '1GiB' };
  const creation = client(api.tokens.admin).volumeCreate(wanted, { waitMs: 0, deadlineMs: 5_000 });
  const failure = await t.throwsAsync(creation, { instanceOf: Failure });
  t.is(failure?.code, 'deadline-exceeded');
  t.regex(failure?.problem.related?.operation ?? '', /^bat_.*-0$/);
});

test('nobody listening is controller-unavailable', async (t) => {
  const client = new ControllerClient({ endpoint: { socketPath: '/nonexistent/controller.sock' }, maxTries: 2 });
  const failure = await t.throwsAsync(client.volumeList(), { instanceOf: Failure });
  t.is(failure?.code, 'controller-unavailable');
  client.close();
});

test('a request whose connection breaks is tried again, with one effect', async (t) => {
  const { port, api, overSocket } = await start(t);
  let broken = 0;
  const proxy = net.createServer((incoming) => {
    const upstream = net.connect(port, '127.0.0.1');
    incoming.pipe(upstream);
    incoming.on('error', () => upstream.destroy());
    // The first answer is swallowed with its connection: the client cannot know what happened.
    if (broken === 0) upstream.once('data', () => incoming.destroy());
    else upstream.pipe(incoming);
    broken += 1;
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.teardown(() => proxy.close());
  const address = proxy.address() as net.AddressInfo;
  const client = new ControllerClient({
    endpoint: { url: `http://127.0.0.1:${address.port}` },
    token: api.tokens.admin,
  });
  t.is((await client.volumeCreate({ name: 'once', sizeBytes: '1GiB' })).name, 'once');
  t.true(broken > 1);
  t.is((await overSocket.operationList()).items.length, 1);
  client.close();
});

test('a stream goes on with what happens, and resumes after its last event without a gap', async (t) => {
  const { client, api } = await start(t);
  const admin = client(api.tokens.admin);
  const stop = new AbortController();
  const stream = admin.events('start', stop.signal);
  await admin.volumeCreate({ name: 'one', sizeBytes: '1GiB' });
  const first = await nextOf(stream, 'volume', 'one');
  const later = nextOf(stream, 'volume', 'two');
  await admin.volumeCreate({ name: 'two', sizeBytes: '1GiB' });
  t.is((await later).name, 'two');
  stop.abort();
  await admin.volumeCreate({ name: 'three', sizeBytes: '1GiB' });
  const again = admin.events(first.cursor, new AbortController().signal);
  t.is((await nextOf(again, 'volume', 'two')).name, 'two');
  t.is((await nextOf(again, 'volume', 'three')).name, 'three');
  await again.return(undefined);
});

test('a cursor that cannot be resumed is refused before the stream begins', async (t) => {
  const { client, api } = await start(t);
  const stream = client(api.tokens.admin).events('x', new AbortController().signal);
  const failure = await t.throwsAsync(stream.next(), { instanceOf: Failure });
  t.is(failure?.code, 'invalid-request');
});

test('the stream of a revoked token ends before the next event', async (t) => {
  const { api, port, client } = await start(t);
  const made = await api.ask({ method: 'POST', url: '/v1/tokens', body: { name: 'ci', role: 'viewer' } });
  const headers = { authorization: `Bearer ${String(made.body.secret)}` };
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    http.get({ port, path: '/v1/events', headers }, resolve).on('error', reject);
  });
  let text = '';
  const connected = new Promise<void>((resolve) => response.once('data', () => resolve()));
  response.on('data', (part: Buffer) => {
    text += part.toString();
  });
  const ended = new Promise<void>((resolve) => response.once('end', resolve));
  await connected;
  await api.ask({ method: 'DELETE', url: `/v1/tokens/${String(made.body.id)}` });
  await client(api.tokens.admin).volumeCreate({ name: 'secret', sizeBytes: '1GiB' });
  await ended;
  t.true(text.startsWith(': connected'));
  t.false(text.includes('"secret"'));
});

test('closing ends streams and answers what is under way', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'fcr-api-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const world = await ControlPlaneWorld.open();
  t.teardown(() => world.close());
  const api = await Api.over(world.controlPlane, { ready: false });
  const socketPath = join(directory, 's');
  const { port } = await listen(api.app, { tcp: { host: '127.0.0.1', port: 0 }, unix: { path: socketPath } });
  const ended = new Promise<void>((resolve, reject) => {
    const headers = { authorization: `Bearer ${api.tokens.admin}` };
    http
      .get({ port: port ?? 0, path: '/v1/events', headers }, (response) => {
        response.once('data', () => void api.close());
        response.on('end', resolve);
        response.resume();
      })
      .on('error', reject);
  });
  await t.notThrowsAsync(ended);
  await api.close();
  await t.throwsAsync(new ControllerClient({ endpoint: { socketPath }, maxTries: 1 }).volumeList(), {
    instanceOf: Failure,
  });
});

test('a socket left over from a crash is replaced; one that is in use, or a file, is not', async (t) => {
  const { socketPath, world, api } = await start(t);
  const second = await Api.over(world.controlPlane, { ready: false, tokens: api.tokens });
  await t.throwsAsync(listen(second.app, { unix: { path: socketPath } }), { message: /Another process listens/ });
  const file = join(tmpdir(), `fcr-file-${process.pid}`);
  writeFileSync(file, 'precious');
  t.teardown(() => rmSync(file));
  const third = await Api.over(world.controlPlane, { ready: false, tokens: api.tokens });
  await t.throwsAsync(listen(third.app, { unix: { path: file } }), { message: /is no socket/ });
});

async function nextOf(stream: AsyncGenerator<Event>, kind: Event['kind'], name: string): Promise<Event> {
  for (;;) {
    const { value, done } = await stream.next();
    if (done === true) throw new Error('the stream ended');
    if (value.kind === kind && value.name === name) return value;
  }
}

function immediately(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
