import test from 'ava';
import { ControlPlaneWorld } from '../support/control-plane-world.ts';
import { until } from '../support/daemon.ts';

test('a storage node is seen each time that it has told what it holds, not at its start alone', async (t) => {
  const world = await ControlPlaneWorld.open();
  t.teardown(() => world.close());
  const { controlPlane, store } = world;
  const seenAt = async () => (await store.storageNodeGet('local'))?.lastSeenAt ?? 0;
  const atStart = await seenAt();
  const isSeenLater = async () => {
    await controlPlane.maintenance.runNow('export-reconcile');
    return (await seenAt()) > atStart;
  };
  await until(isSeenLater, { what: 'it is seen again' });
  t.true((await seenAt()) > atStart);
});
