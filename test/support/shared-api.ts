import test from 'ava';
import { Api } from './api.ts';
import { ControlPlaneWorld } from './control-plane-world.ts';

interface SharedApi {
  readonly world: ControlPlaneWorld;
  readonly api: Api;
}

/** One for all tests of a file that leave it as it was; the first that asks opens it. */
export function sharedApi(): () => Promise<SharedApi> {
  let shared: Promise<SharedApi> | null = null;
  test.after.always(async () => {
    const opened = await shared;
    await opened?.api.close();
    await opened?.world.close();
  });
  return () => {
    shared ??= open();
    return shared;
  };
}

async function open(): Promise<SharedApi> {
  const world = await ControlPlaneWorld.open();
  return { world, api: await Api.over(world.controlPlane) };
}
