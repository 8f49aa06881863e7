import test, { type ExecutionContext } from 'ava';
import { problem } from '../../src/domain/errors.ts';
import { ControllerClient } from '../../src/http/client.ts';
import { FakeHttp } from '../support/fake-http.ts';

async function clientOf(t: ExecutionContext, answers: { readonly status: number; readonly body: unknown }[]) {
  const fake = await FakeHttp.onPort(() => answers.shift() ?? null);
  const client = new ControllerClient({ endpoint: { url: fake.url } });
  t.teardown(() => {
    client.close();
    fake.close();
  });
  return { client, fake };
}

test('a creation whose earlier try still has its key is tried again under that key', async (t) => {
  const inUse = problem('idempotency-key-in-use', 'A request with this key is under way.');
  const token = { id: 'tok_1', name: 'ci', role: 'viewer', secret: null };
  const answers = [
    { status: 409, body: inUse },
    { status: 409, body: inUse },
    { status: 201, body: token },
  ];
  const { client, fake } = await clientOf(t, answers);
  t.like(await client.tokenCreate({ name: 'ci', role: 'viewer' }), { id: 'tok_1' });
  t.is(new Set(fake.asked.map(({ headers }) => headers['idempotency-key'])).size, 1);
  t.is(fake.asked.length, 3);
});

for (const [code, status] of [
  ['storage-failed', 503],
  ['pool-exhausted', 429],
  ['out-of-space', 429],
] as const) {
  test(`what could not be carried out (${code}) has ended: it is not asked for again under its key`, async (t) => {
    const { client, fake } = await clientOf(t, [{ status, body: problem(code, 'The disk refuses.') }]);
    await t.throwsAsync(client.volumeCreate({ name: 'v' }), { code });
    t.is(fake.asked.length, 1);
  });
}

test('what was refused for the moment, before it began, is asked for again', async (t) => {
  const refusal = { status: 429, body: problem('too-many-requests', 'Too many requests wait.') };
  const { client } = await clientOf(t, [refusal, { status: 201, body: { id: 'vol_1' } }]);
  t.like(await client.volumeCreate({ name: 'v' }), { id: 'vol_1' });
});
