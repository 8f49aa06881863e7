import http from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { Failure } from '../../src/domain/errors.ts';
import { ClientTransport } from '../../src/http/client-transport.ts';

/** A controller that knows one token, and the file in which a client looks for it. */
class World {
  known = 'first';
  kept: string | Error = 'first';
  reads = 0;
  readonly shown: string[] = [];
  readonly #server = http.createServer((request, response) => {
    const token = (request.headers.authorization ?? '').replace('Bearer ', '');
    this.shown.push(token);
    const problem = { code: 'unauthenticated', detail: 'A valid bearer token is needed.' };
    response.writeHead(token === this.known ? 200 : 401, { 'content-type': 'application/json' });
    response.end(JSON.stringify(token === this.known ? {} : problem));
  });

  async open(t: ExecutionContext): Promise<ClientTransport> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const { port } = this.#server.address() as AddressInfo;
    const transport = new ClientTransport({ endpoint: { url: `http://127.0.0.1:${port}` }, token: () => this.#read() });
    t.teardown(() => {
      transport.close();
      this.#server.close();
    });
    return transport;
  }

  #read(): string {
    this.reads += 1;
    if (this.kept instanceof Error) throw this.kept;
    return this.kept;
  }
}

/** Not to be repeated for any other reason. */
const change = { method: 'PATCH', path: '/v1/pools/fast', body: {}, repeatable: false } as const;

test('a token that was replaced in its file is taken up when the old one is refused', async (t) => {
  const world = new World();
  const transport = await world.open(t);
  await transport.call(change);
  world.known = 'second';
  world.kept = 'second';
  t.is((await transport.call(change)).status, 200);
  await transport.call(change);
  t.deepEqual(world.shown, ['first', 'first', 'second', 'second']);
  t.is(world.reads, 2);
});

test('calls that were refused together each go on with the new one', async (t) => {
  const world = new World();
  const transport = await world.open(t);
  world.known = 'second';
  world.kept = 'second';
  const answers = await Promise.all([transport.call(change), transport.call(change), transport.call(change)]);
  t.deepEqual(
    answers.map(({ status }) => status),
    [200, 200, 200],
  );
});

test('a token that is refused and has not changed is shown once, and read again once', async (t) => {
  const world = new World();
  const transport = await world.open(t);
  world.known = 'another';
  const failure = await t.throwsAsync(transport.call(change), { instanceOf: Failure });
  t.is(failure?.code, 'unauthenticated');
  t.deepEqual({ shown: world.shown, reads: world.reads }, { shown: ['first'], reads: 2 });
});

test('a new token that is refused too is not read again and again', async (t) => {
  const world = new World();
  const transport = await world.open(t);
  world.known = 'another';
  world.kept = 'wrong';
  await t.throwsAsync(transport.call(change), { instanceOf: Failure });
  t.deepEqual({ shown: world.shown, reads: world.reads }, { shown: ['first', 'wrong'], reads: 2 });
});

test('a file that cannot be read any more is told with the refusal', async (t) => {
  const world = new World();
  const transport = await world.open(t);
  world.known = 'second';
  world.kept = new Error('The token file cannot be read.');
  const failure = await t.throwsAsync(transport.call(change), { instanceOf: Failure });
  t.is(failure?.code, 'unauthenticated');
  t.regex(failure?.message ?? '', /bearer token is needed\. The token file cannot be read/);
});
