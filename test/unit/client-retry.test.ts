import test from 'ava';
import { problem } from '../../src/domain/errors.ts';
import { ControllerClient } from '../../src/http/client.ts';
import { FakeHttp } from '../support/fake-http.ts';

test('a creation whose earlier try still has its key is tried again under that key', async (t) => {
  const inUse = problem('idempotency-key-in-use', 'A request with this key is under way.');
  const token = { id: 'tok_1', name: 'ci', role: 'viewer', secret: null };
  const answers = [
    { status: 409, body: inUse },
    { status: 409, body: inUse },
    { status: 201, body: token },
  ];
  const fake = await FakeHttp.onPort(() => answers.shift() ?? null);
  const client = new ControllerClient({ endpoint: { url: fake.url } });
  t.teardown(() => {
    client.close();
    fake.close();
  });
  t.like(await client.tokenCreate({ name: 'ci', role: 'viewer' }), { id: 'tok_1' });
  t.is(new Set(fake.asked.map(({ headers }) => headers['idempotency-key'])).size, 1);
  t.is(fake.asked.length, 3);
});
