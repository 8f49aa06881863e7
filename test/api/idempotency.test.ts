import test, { type ExecutionContext } from 'ava';
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

/** The creation of the token "ci" begins, and goes on when it may. */
async function openPaused(t: ExecutionContext) {
  const { promise: mayEnd, resolve: end } = Promise.withResolvers<void>();
  const { promise: begun, resolve: hasBegun } = Promise.withResolvers<void>();
  const opened = await openApi(t, ({ store }) => ({
    store: {
      tokenCreate: async (token, key) => {
        if (token.name === 'ci') hasBegun();
        if (token.name === 'ci') await mayEnd;
        return await store.tokenCreate(token, key);
      },
    },
  }));
  return { ...opened, begun, end };
}

const ci = { method: 'POST', url: '/v1/tokens', body: { name: 'ci', role: 'viewer' }, headers } as const;

async function works(api: Api, secret: unknown): Promise<boolean> {
  return (await api.ask({ method: 'GET', url: '/v1/volumes', token: String(secret) })).status === 200;
}

test('while a request is under way its key is refused, and afterwards answered', async (t) => {
  const { api, world, begun, end } = await openPaused(t);
  const first = api.ask(ci);
  await begun;
  t.like(await api.ask(ci), { status: 409, body: { code: 'idempotency-key-in-use' } });
  end();
  const { status, body } = await first;
  t.is(status, 201);
  t.true(await works(api, body.secret));
  t.like(await api.ask(ci), { status: 201, body: { id: body.id, secret: null } });
  t.is((await world.store.tokenList(everything)).items.filter(({ name }) => name === 'ci').length, 1);
});

test('while a request is under way at one replica its key is refused at the others', async (t) => {
  const { api, world, begun, end } = await openPaused(t);
  const other = await Api.over(world.controlPlane, { tokens: api.tokens });
  t.teardown(() => other.close());
  const first = api.ask(ci);
  await begun;
  t.like(await other.ask(ci), { status: 409, body: { code: 'idempotency-key-in-use' } });
  end();
  const { status, body } = await first;
  t.is(status, 201);
  t.like(await other.ask(ci), { status: 201, body: { id: body.id, secret: null } });
  t.true(await works(api, body.secret));
});

for (const { title, dies } of [
  { title: 'who is overtaken by a repeat leaves alone what that one was answered', dies: false },
  { title: 'so does a repeat that is overtaken itself', dies: true },
]) {
  test(title, async (t) => {
    let tries = 0;
    const overtaking: ReturnType<Api['ask']>[] = [];
    const { api } = await openApi(t, ({ store }) => ({
      store: {
        tokenCreate: async (token, key) => {
          if (key === undefined || key === null) return await store.tokenCreate(token, key);
          tries += 1;
          if (dies && tries === 1) throw new Error('the process died');
          if (overtaking.length > 0) return await store.tokenCreate(token, key);
          await store.idempotencyRelease(key.request, key.claim);
          overtaking.push(api.ask(ci));
          await Promise.all(overtaking);
          return await store.tokenCreate(token, key);
        },
      },
    }));
    if (dies) t.is((await api.ask(ci)).status, 500);
    const overtaken = await api.ask(ci);
    t.like(overtaken, { status: 409, body: { code: 'idempotency-key-in-use' } });
    t.false(overtaken.text.includes('fcr_'));
    t.is(overtaken.headers['content-type'], 'application/problem+json');
    const [answered] = await Promise.all(overtaking);
    t.is(answered?.status, 201);
    t.true(await works(api, answered?.body.secret));
  });
}

test('who was overtaken while it answered does not tell a secret that is dead', async (t) => {
  const { api } = await openApi(t, () => ({ store: { idempotencyEnd: async () => false } }));
  const answer = await api.ask(ci);
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
