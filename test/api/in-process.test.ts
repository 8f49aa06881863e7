import test, { type ExecutionContext } from 'ava';
import { Failure } from '../../src/domain/errors.ts';
import { ControllerClient } from '../../src/http/client.ts';
import { exchangeWith } from '../../src/http/in-process.ts';
import { Api } from '../support/api.ts';
import { ControlPlaneWorld } from '../support/control-plane-world.ts';

interface Running {
  readonly world: ControlPlaneWorld;
  readonly api: Api;
  client(options?: { readonly deadlineMs?: number }): ControllerClient;
}

async function start(t: ExecutionContext): Promise<Running> {
  const world = await ControlPlaneWorld.open();
  const api = await Api.over(world.controlPlane, { ready: false });
  const exchange = exchangeWith(api.app);
  await api.app.ready();
  t.teardown(async () => {
    await api.close();
    await world.close();
  });
  return {
    world,
    api,
    client: (options = {}) => new ControllerClient({ endpoint: { exchange }, ...options }),
  };
}

test('a client in the same process is the administrator, under the name of the socket', async (t) => {
  const { client } = await start(t);
  t.like(await client().volumeCreate({ name: 'data', sizeBytes: '1GiB' }), { name: 'data', state: 'allocated' });
  t.is((await client().operationList()).items[0]?.requestedBy, 'unix-socket');
});

test('nobody else is: a request that came another way shows a token', async (t) => {
  const { api } = await start(t);
  t.is((await api.ask({ method: 'GET', url: '/v1/volumes', token: null })).status, 401);
});

test('absence, refusals and answers without a body are what they are over a connection', async (t) => {
  const { client } = await start(t);
  t.is(await client().volumeGet('data'), null);
  const refused = await t.throwsAsync(client().volumeCreate({ name: 'a b' }), { instanceOf: Failure });
  t.is(refused?.code, 'invalid-name');
  t.is(refused?.problem.field, 'name');
  await client().volumeCreate({ name: 'data', sizeBytes: '1GiB' });
  await client().volumeDelete('data');
  t.is(await client().volumeGet('data'), null);
  t.like(await client().readiness(), { status: 'ready' });
});

test('a body that is too long is refused, and the next one is read', async (t) => {
  const { client } = await start(t);
  const labels = { text: 'x'.repeat(8 * 1024 * 1024) };
  const refused = await t.throwsAsync(client().volumeCreate({ name: 'data', sizeBytes: '1GiB', labels }), {
    instanceOf: Failure,
  });
  t.is(refused?.code, 'body-too-large');
  t.is((await client().volumeCreate({ name: 'data', sizeBytes: '1GiB' })).name, 'data');
});

test('what overran its deadline has an unknown outcome and goes on', async (t) => {
  const { client, world } = await start(t);
  const fault = world.node.inject({ effect: 'delay', kind: 'provision' });
  const late = client({ deadlineMs: 50 }).volumeCreate({ name: 'data', sizeBytes: '1GiB' });
  t.is((await t.throwsAsync(late, { instanceOf: Failure }))?.code, 'deadline-exceeded');
  fault.release();
  t.is((await client().volumeCreate({ name: 'data', sizeBytes: '1GiB' })).name, 'data');
});

test('closing the application waits for what its clients here have asked', async (t) => {
  const { client, api, world } = await start(t);
  const fault = world.node.inject({ effect: 'delay', kind: 'provision' });
  const created = client().volumeCreate({ name: 'data', sizeBytes: '1GiB' });
  while ((await world.store.backlog()).runningBatches === 0) await new Promise(setImmediate);
  const closed = api.close();
  fault.release();
  await closed;
  t.is((await created).name, 'data');
});
