import test from 'ava';
import { Failure } from '../../../src/domain/errors.ts';
import { AgentWorld } from '../../support/agent-world.ts';

test('a mount does not wait for the controller to hear of its device', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start({ intervals: { controllerCallMs: 60_000 } });
  world.controller.silent.add('hostStateReport');
  const { path } = await agent.mount({ volume: 'data' });
  t.is(agent.mounts()[0]?.state, 'mounted');
  t.deepEqual(
    world.host.mounts.map((mount) => mount.path),
    [path],
  );
  t.is([...world.controller.attachments.values()][0]?.hostSide, 'claimed');
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
  await agent.told();
  // The run that the failure has asked for.
  await agent.reconcile();
  t.deepEqual(world.state(agent), world.complete('data'));
  t.is(controller.reports.filter(({ side }) => side === 'attached').length, 1);
});

test('a mount whose attachment was taken away before it could be told of goes again', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start();
  await agent.mount({ volume: 'data' });
  world.controller.attachments.clear();
  await agent.told();
  await agent.reconcile();
  t.deepEqual(world.state(agent), world.complete());
});

test('the word that a device is there arrives before the one that it is gone', async (t) => {
  const world = await AgentWorld.make(t);
  world.addVolume('data');
  const agent = await world.start({ intervals: { controllerCallMs: 60_000 } });
  const { controller, host } = world;
  const late = Promise.withResolvers<void>();
  const sent = Promise.withResolvers<void>();
  const report = controller.hostStateReport.bind(controller);
  controller.hostStateReport = async (side) => {
    sent.resolve();
    await late.promise;
    return report(side);
  };
  const { id } = await agent.mount({ volume: 'data' });
  await sent.promise;
  const gone = Promise.withResolvers<void>();
  const detach = host.detach.bind(host);
  host.detach = async (target) => {
    const proof = await detach(target);
    gone.resolve();
    return proof;
  };
  const unmounted = agent.unmount(id);
  await gone.promise;
  t.is(controller.attachments.size, 1);
  late.resolve();
  await unmounted;
  t.deepEqual(
    controller.reports.map(({ side }) => side),
    ['attached', 'gone'],
  );
  t.deepEqual(world.state(agent), world.complete());
});
