import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import { Failure } from '../../../src/domain/errors.ts';
import { AgentWorld } from '../../support/agent-world.ts';
import { until } from '../../support/daemon.ts';

test('a mount does not wait for the controller to hear of its device', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const held = holdReports(world);
  const { path } = await agent.mount({ volume: 'data' });
  t.is(agent.mounts()[0]?.state, 'mounted');
  t.deepEqual(
    world.host.mounts.map((mount) => mount.path),
    [path],
  );
  t.is([...world.controller.attachments.values()][0]?.hostSide, 'claimed');
  held.letGo();
  await agent.told();
  t.deepEqual(world.state(agent), world.complete('data'));
});

test('while a device is being told of, a second mount of the volume tells nothing more', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const held = holdReports(world);
  const first = await agent.mount({ volume: 'data' });
  await held.sent;
  const second = await agent.mount({ volume: 'data', path: join(world.directory, 'second') });
  held.letGo();
  await agent.unmount(first.id);
  await agent.unmount(second.id);
  t.deepEqual(
    world.controller.reports.map(({ side }) => side),
    ['attached', 'gone'],
  );
});

test('what the controller could not be told of a mount the reconciler tells it', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const { controller } = world;
  const report = controller.hostStateReport.bind(controller);
  controller.hostStateReport = async () => {
    controller.hostStateReport = report;
    throw new Failure('store-unavailable', 'The disk of the store is full: nothing was changed.');
  };
  await agent.mount({ volume: 'data' });
  const isTold = () => controller.reports.some(({ side }) => side === 'attached');
  await until(isTold, { what: 'the reconciler has told it' });
  await agent.reconcile();
  t.deepEqual(world.state(agent), world.complete('data'));
  t.is(controller.reports.length, 1);
});

test('a mount whose attachment was taken away before it could be told of goes again', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  await agent.mount({ volume: 'data' });
  world.controller.attachments.clear();
  await until(() => agent.mounts().length === 0, { what: 'the mount has gone' });
  t.deepEqual(world.state(agent), world.complete());
});

test('the word that a device is there arrives before the one that it is gone', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  const { controller, host } = world;
  const held = holdReports(world);
  const { id } = await agent.mount({ volume: 'data' });
  await held.sent;
  const gone = Promise.withResolvers<void>();
  const detach = host.detach.bind(host);
  host.detach = async (target) => {
    const proof = await detach(target);
    gone.resolve();
    return proof;
  };
  const unmounted = agent.unmount(id);
  await gone.promise;
  // Whoever did not wait would have told it by then.
  await setImmediate();
  t.is(controller.attachments.size, 1);
  held.letGo();
  await unmounted;
  t.deepEqual(
    controller.reports.map(({ side }) => side),
    ['attached', 'gone'],
  );
  t.deepEqual(world.state(agent), world.complete());
});

/** Reports reach the controller once they are let go; `sent`: the first one is on its way. */
function holdReports({ controller }: AgentWorld): { readonly sent: Promise<void>; letGo(): void } {
  const late = Promise.withResolvers<void>();
  const sent = Promise.withResolvers<void>();
  const report = controller.hostStateReport.bind(controller);
  controller.hostStateReport = async (side) => {
    sent.resolve();
    await late.promise;
    return report(side);
  };
  return { sent: sent.promise, letGo: () => late.resolve() };
}
