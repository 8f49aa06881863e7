import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { Failure } from '../../src/domain/errors.ts';
import { ControllerClient } from '../../src/http/client.ts';
import { listen } from '../../src/http/listeners.ts';
import type { ServerTls } from '../../src/http/server.ts';
import { Api } from '../support/api.ts';
import { ControlPlaneWorld } from '../support/control-plane-world.ts';

/** Certificates that were made for this test and sign themselves. */
const pem = (name: string) => readFileSync(new URL(`../support/fixtures/tls/${name}`, import.meta.url), 'utf8');
const server = { cert: pem('server.crt'), key: pem('server.key') };

async function start(t: ExecutionContext, tls: ServerTls) {
  const world = await ControlPlaneWorld.open();
  t.teardown(() => world.close());
  const api = await Api.over(world.controlPlane, { ready: false, tls });
  t.teardown(() => api.close());
  const { port } = await listen(api.app, { tcp: { host: '127.0.0.1', port: 0 } });
  return (own: { readonly ca?: string; readonly cert?: string; readonly key?: string }, scheme = 'https') => {
    const endpoint = { url: `${scheme}://127.0.0.1:${port}`, tls: own };
    const client = new ControllerClient({ endpoint, token: api.tokens.viewer, maxTries: 1 });
    t.teardown(() => client.close());
    return client;
  };
}

test('over TLS the client proves whom it speaks to', async (t) => {
  const client = await start(t, server);
  t.deepEqual((await client({ ca: pem('server.crt') }).volumeList()).items, []);
  const failure = await t.throwsAsync(client({}).volumeList(), { instanceOf: Failure });
  t.is(failure?.code, 'controller-unavailable');
});

test('a certificate that nobody vouches for, and a URL without TLS, say what to change', async (t) => {
  const client = await start(t, server);
  await t.throwsAsync(client({}).volumeList(), { message: /not trusted \(DEPTH_ZERO_SELF_SIGNED_CERT\): serverCa/ });
  const plain = client({}, 'http');
  await t.throwsAsync(plain.volumeList(), { message: /if it speaks TLS there, the URL begins with https:\/\/\.$/ });
});

test('where client certificates are asked for, nobody comes in without one', async (t) => {
  const client = await start(t, { ...server, clientCa: pem('client.crt') });
  const ca = pem('server.crt');
  await t.throwsAsync(client({ ca }).volumeList(), { instanceOf: Failure });
  const own = { ca, cert: pem('client.crt'), key: pem('client.key') };
  t.deepEqual((await client(own).volumeList()).items, []);
});
