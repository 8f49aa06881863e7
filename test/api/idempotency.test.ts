import test from 'ava';
import type { RememberedAnswer } from '../../src/store/store.ts';
import { Api } from '../support/api.ts';
import { openApi } from '../support/control-plane-world.ts';

const everything = { pageSize: 1000, pageToken: null };
const headers = { 'idempotency-key': 'key-1' };
const pool = { name: 'fast', backend: 'file', volumeSizeBytes: '1GiB', minFree: 1, maxVolumes: 10 };

test('the same key and body is answered as the first time, with one effect', async (t) => {
  const { api, world } = await openApi(t);
  const ask = async (body: object) => await api.ask({ method: 'POST', url: '/v1/volumes', body, headers });
  const first = await ask({ name: 'a', sizeBytes: '1GiB', labels: { x: '1', y: '2' } });
  const replay = await ask({ labels: { y: '2', x: '1' }, sizeBytes: 2 ** 30, name: 'a', pool: null });
  t.is(first.status, 201);
  t.is(replay.status, 201);
  t.deepEqual(replay.body, first.body);
  t.is((await world.store.operationList({}, everything)).items.length, 1);
});

test('the same key with another body is 422, and has no effect', async (t) => {
  const { api, world } = await openApi(t);
  await api.ask({ method: 'POST', url: '/v1/volumes', body: { name: 'a', sizeBytes: '1GiB' }, headers });
  const other = await api.ask({ method: 'POST', url: '/v1/volumes', body: { name: 'b', sizeBytes: '1GiB' }, headers });
  t.like(other, { status: 422, body: { code: 'idempotency-key-reused' } });
  t.is((await world.store.volumeList({}, everything)).items.length, 1);
});

test('a key is of one principal and one route', async (t) => {
  const { api, world } = await openApi(t);
  await api.ask({ method: 'POST', url: '/v1/volumes', body: { name: 'a', sizeBytes: '1GiB' }, headers });
  const token = api.tokens.operator;
  const others = await api.ask({
    method: 'POST',
    url: '/v1/volumes',
    body: { name: 'b', sizeBytes: '1GiB' },
    headers,
    token,
  });
  const elsewhere = await api.ask({ method: 'POST', url: '/v1/flow-policies', body: { action: 'permit' }, headers });
  t.deepEqual([others.status, elsewhere.status], [201, 201]);
  t.is((await world.store.volumeList({}, everything)).items.length, 2);
});

test('a pool created under a key is answered 201 again, also after it has changed', async (t) => {
  const { api } = await openApi(t);
  const first = await api.ask({ method: 'POST', url: '/v1/pools', body: pool, headers });
  await api.ask({ method: 'PATCH', url: '/v1/pools/fast', body: { minFree: 5 } });
  const replay = await api.ask({ method: 'POST', url: '/v1/pools', body: pool, headers });
  t.is(replay.status, 201);
  t.deepEqual(replay.body, first.body);
  const other = await api.ask({ method: 'POST', url: '/v1/pools', body: { ...pool, minFree: 2 }, headers });
  t.like(other, { status: 422, body: { code: 'idempotency-key-reused' } });
});

test('a refused request does not use its key up', async (t) => {
  const { api } = await openApi(t);
  const refused = await api.ask({ method: 'POST', url: '/v1/pools', body: { ...pool, minFree: 'x' }, headers });
  t.is(refused.status, 400);
  t.is((await api.ask({ method: 'POST', url: '/v1/pools', body: pool, headers })).status, 201);
});

test("a token's secret is not remembered with its key", async (t) => {
  const remembered: RememberedAnswer[] = [];
  const { api } = await openApi(t, (world) => ({
    store: {
      idempotencyEnd: async (request, claim, answer) => {
        remembered.push(answer);
        return await world.store.idempotencyEnd(request, claim, answer);
      },
    },
  }));
  const body = { name: 'ci', role: 'viewer' };
  const first = await api.ask({ method: 'POST', url: '/v1/tokens', body, headers });
  const replay = await api.ask({ method: 'POST', url: '/v1/tokens', body, headers });
  t.is(replay.status, 201);
  t.deepEqual(replay.body, { ...first.body, secret: null });
  t.is(remembered.length, 1);
  t.false(JSON.stringify(remembered).includes(String(first.body.secret)));
  t.is((await api.ask({ method: 'GET', url: '/v1/volumes', token: String(first.body.secret) })).status, 200);
});

test('while a request is under way its key is refused, and afterwards answered', async (t) => {
  const { promise: mayEnd, resolve: end } = Promise.withResolvers<void>();
  const { promise: begun, resolve: hasBegun } = Promise.withResolvers<void>();
  const { api, world } = await openApi(t, (opened) => ({
    store: {
      tokenCreate: async (token) => {
        if (token.name === 'ci') hasBegun();
        if (token.name === 'ci') await mayEnd;
        return await opened.store.tokenCreate(token);
      },
    },
  }));
  const ask = async () =>
    await api.ask({ method: 'POST', url: '/v1/tokens', body: { name: 'ci', role: 'viewer' }, headers });
  const first = ask();
  await begun;
  t.like(await ask(), { status: 409, body: { code: 'idempotency-key-in-use' } });
  end();
  const { status, body } = await first;
  t.is(status, 201);
  t.is((await api.ask({ method: 'GET', url: '/v1/volumes', token: String(body.secret) })).status, 200);
  t.like(await ask(), { status: 201, body: { id: body.id, secret: null } });
  t.is((await world.store.tokenList(everything)).items.filter(({ name }) => name === 'ci').length, 1);
});

test('while a request is under way at one replica its key is refused at the others', async (t) => {
  const { promise: mayEnd, resolve: end } = Promise.withResolvers<void>();
  const { promise: begun, resolve: hasBegun } = Promise.withResolvers<void>();
  const { api, world } = await openApi(t, (opened) => ({
    store: {
      tokenCreate: async (token) => {
        if (token.name === 'ci') hasBegun();
        if (token.name === 'ci') await mayEnd;
        return await opened.store.tokenCreate(token);
      },
    },
  }));
  const other = await Api.over(world.controlPlane, { tokens: api.tokens });
  t.teardown(() => other.close());
  const asked = { method: 'POST', url: '/v1/tokens', body: { name: 'ci', role: 'viewer' }, headers } as const;
  const first = api.ask(asked);
  await begun;
  t.like(await other.ask(asked), { status: 409, body: { code: 'idempotency-key-in-use' } });
  end();
  const { status, body } = await first;
  t.is(status, 201);
  t.like(await other.ask(asked), { status: 201, body: { id: body.id, secret: null } });
  t.is((await api.ask({ method: 'GET', url: '/v1/volumes', token: String(body.secret) })).status, 200);
});

test('who was overtaken by a repeat at another replica does not tell a secret that is dead', async (t) => {
  const { api } = await openApi(t, () => ({ store: { idempotencyEnd: async () => false } }));
  const body = { name: 'ci', role: 'viewer' };
  const answer = await api.ask({ method: 'POST', url: '/v1/tokens', body, headers });
  t.like(answer, { status: 409, body: { code: 'idempotency-key-in-use' } });
  t.false(answer.text.includes('fcr_'));
  t.is(answer.headers['content-type'], 'application/problem+json');
});

test('a token whose creation was never answered is replaced by the repeat', async (t) => {
  const { api, world } = await openApi(t, () => ({
    store: { idempotencyEnd: () => Promise.reject(new Error('the process died')) },
  }));
  const body = { name: 'ci', role: 'viewer' };
  await api.ask({ method: 'POST', url: '/v1/tokens', body, headers });
  const before = (await world.store.tokenList(everything)).items.length;
  const repeat = await api.ask({ method: 'POST', url: '/v1/tokens', body, headers });
  t.is(repeat.status, 201);
  t.is((await world.store.tokenList(everything)).items.length, before);
  t.is((await api.ask({ method: 'GET', url: '/v1/volumes', token: String(repeat.body.secret) })).status, 200);
});
