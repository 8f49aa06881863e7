import http from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { ControllerLink } from '../../../src/agent/controller-link.ts';
import type { ControllerPort } from '../../../src/agent/controller-port.ts';
import { restController } from '../../../src/agent/rest-controller.ts';
import { type ErrorCode, Failure } from '../../../src/domain/errors.ts';
import type { InventoryBegun } from '../../../src/domain/host.ts';
import type { Volume } from '../../../src/domain/volume.ts';
import { ControllerClient } from '../../../src/http/client.ts';
import { systemClock } from '../../../src/system/clock.ts';
import { FakeHttp } from '../../support/fake-http.ts';

const answerMs = 200;

function connect(t: ExecutionContext, url: string): ControllerPort {
  const client = new ControllerClient({ endpoint: { url }, deadlineMs: answerMs });
  t.teardown(() => client.close());
  return restController(client, answerMs);
}

const beginInventory = (controller: ControllerPort) => controller.inventoryBegin('node1');

async function refusal(t: ExecutionContext, call: Promise<unknown>): Promise<Failure> {
  return await t.throwsAsync(call, { instanceOf: Failure });
}

test('a controller that takes a request and says nothing is unavailable', async (t) => {
  const silent = http.createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    silent.close();
    silent.closeAllConnections();
  });
  const port = connect(t, `http://127.0.0.1:${(silent.address() as AddressInfo).port}`);
  const failure = await refusal(t, port.volumeGet('data'));
  t.is(failure.code, 'controller-unavailable');
  t.regex(failure.message, /did not answer within 200 ms/);
});

test('an operation that outlasts an exchange is followed until it ends', async (t) => {
  const attachment = { id: 'att_1', state: 'exported' };
  const accepted = { id: 'bat_1-0', state: 'running' };
  const ended = { ...accepted, state: 'succeeded', resource: attachment, existing: true };
  const controller = await FakeHttp.onPort(({ method }) =>
    method === 'POST' ? { status: 202, body: accepted } : { status: 200, body: ended },
  );
  t.teardown(() => controller.close());
  const port = connect(t, controller.url);
  const request = { volume: 'data', host: 'node1', accessMode: 'single-writer', claim: true } as const;
  t.like(await port.attachmentCreate(request), { ...attachment, existing: true });
  t.is(controller.asked[0]?.headers.prefer, 'wait=1');
});

test('whether an attachment was there before is told apart', async (t) => {
  const statuses = [201, 200];
  const controller = await FakeHttp.onPort(() => ({ status: statuses.shift() ?? 500, body: { id: 'att_1' } }));
  t.teardown(() => controller.close());
  const port = connect(t, controller.url);
  const request = { volume: 'data', host: 'node1', accessMode: 'single-writer', claim: true } as const;
  t.deepEqual(
    [await port.attachmentCreate(request), await port.attachmentCreate(request)].map(({ existing }) => existing),
    [false, true],
  );
});

test('what the controller refuses stays its own word', async (t) => {
  const problem = { code: 'host-conflict', detail: 'It is another machine.', status: 409 };
  const controller = await FakeHttp.onPort(() => ({ status: 409, body: problem }));
  t.teardown(() => controller.close());
  const failure = await refusal(t, connect(t, controller.url).inventoryBegin('node1'));
  t.is(failure.code, 'host-conflict');
});

test('a controller that answers again is noticed once', async (t) => {
  let isAway = true;
  let returns = 0;
  const away = () => Promise.reject(new Failure('controller-unavailable', 'refused'));
  const port = {
    inventoryBegin: () => (isAway ? away() : Promise.resolve({ sequence: 1, storeId: 's', replacedStoreIds: [] })),
  } as Partial<ControllerPort> as ControllerPort;
  const ask = () => link.call(beginInventory);
  const onReturn = () => (returns += 1);
  const link = new ControllerLink({ port, deadlineMs: 1_000, clock: systemClock, probe: beginInventory, onReturn });
  await refusal(t, ask());
  t.is(returns, 0);
  isAway = false;
  await ask();
  await ask();
  t.is(returns, 1);
});

test('a client that shares the link knows of a silence, and tells of one; what storage could not do is none', async (t) => {
  const asked: string[] = [];
  const began = Promise.withResolvers<InventoryBegun>();
  const port: Partial<ControllerPort> = { inventoryBegin: () => began.promise };
  const away = Promise.withResolvers<void>();
  const fields = { port: port as ControllerPort, deadlineMs: 600_000, clock: systemClock, probe: beginInventory };
  const link = new ControllerLink({ ...fields, onReturn: away.resolve });
  const refused = (name: string, code: ErrorCode) => {
    const send = async () => {
      asked.push(name);
      throw new Failure(code, 'No word of it.');
    };
    return refusal(t, link.share(send));
  };
  t.is((await refused('first', 'storage-failed')).code, 'storage-failed');
  t.is(link.reachability.reachable, null);
  await refused('second', 'controller-unavailable');
  t.is(link.reachability.reachable, false);
  t.is((await refused('third', 'storage-failed')).code, 'controller-unavailable');
  t.is((await refusal(t, link.call(beginInventory))).code, 'controller-unavailable');
  t.deepEqual(asked, ['first', 'second']);
  began.resolve({ sequence: 1, storeId: 's', replacedStoreIds: [] });
  await away.promise;
  t.is(await link.share(async () => 'answer'), 'answer');
});

test('while a controller is known to be silent one probe waits for it, and no call is sent to wait as well', async (t) => {
  const silence = Promise.withResolvers<Volume | null>();
  const began = Promise.withResolvers<InventoryBegun>();
  const asked: string[] = [];
  const port: Partial<ControllerPort> = {
    volumeGet: (name) => {
      asked.push(name);
      return name === 'first' ? silence.promise : Promise.resolve(null);
    },
    inventoryBegin: () => {
      asked.push('probe');
      return began.promise;
    },
  };
  const away = Promise.withResolvers<void>();
  const fields = { port: port as ControllerPort, deadlineMs: 600_000, clock: systemClock, probe: beginInventory };
  const link = new ControllerLink({ ...fields, onReturn: away.resolve });
  const get = (name: string) => link.call((controller) => controller.volumeGet(name));
  silence.reject(new Failure('controller-unavailable', 'The controller did not answer within 5 s.'));
  await refusal(t, get('first'));
  for (const failure of await Promise.all(['second', 'third'].map((name) => refusal(t, get(name))))) {
    t.is(failure.code, 'controller-unavailable');
    t.regex(failure.message, /did not answer within 5 s/);
  }
  t.deepEqual(asked, ['first', 'probe']);
  began.resolve({ sequence: 1, storeId: 's', replacedStoreIds: [] });
  await away.promise;
  t.is(await get('fourth'), null);
  t.deepEqual(asked, ['first', 'probe', 'fourth']);
});
