/**
 * All that a real dockerd 20.10 and a real podman 4.3 sent to a plugin that wrote it down, over runs, restarts, kills,
 * Swarm and Compose: sent again in the same order and form, each has an answer of the kind and shape that it had then.
 *
 * The recording plugin kept nothing over its restarts, and knew volumes from before: what it answered for that reason
 * alone is marked `unlike` in the fixture, and may be answered either way.
 */
import { readFileSync } from 'node:fs';
import test from 'ava';
import { PluginWorld } from '../../support/plugin-world.ts';

type Answer = 'done' | 'refused' | 'unlike';
type RecordedCall = readonly [occasion: string, method: string, body: string, answer: Answer];

const fixture = new URL('../../support/fixtures/engine-calls.json', import.meta.url);
const recorded: Readonly<Record<'dockerd' | 'podman', readonly RecordedCall[]>> = JSON.parse(
  readFileSync(fixture, 'utf8'),
);

/** The fields of an answer that is no refusal. */
const shapes: Readonly<Record<string, readonly string[]>> = {
  'Plugin.Activate': ['Implements'],
  'VolumeDriver.Capabilities': ['Capabilities'],
  'VolumeDriver.Get': ['Err', 'Volume'],
  'VolumeDriver.List': ['Err', 'Volumes'],
  'VolumeDriver.Mount': ['Err', 'Mountpoint'],
  'VolumeDriver.Create': ['Err'],
  'VolumeDriver.Unmount': ['Err'],
  'VolumeDriver.Remove': ['Err'],
};

for (const client of ['dockerd', 'podman'] as const) {
  test(`what ${client} sent is answered as it was when it was recorded`, async (t) => {
    const world = await PluginWorld.start(t);
    const calls = recorded[client];
    t.true(calls.length > 60);
    for (const [occasion, method, body, expected] of calls) {
      const where = `${occasion}: ${method} ${body}`;
      const { status, body: answer } = await world.call(method, body, client);
      const isDone = status === 200;
      if (expected !== 'unlike') t.is(isDone, expected === 'done', where);
      if (isDone) t.deepEqual(Object.keys(answer).sort(), shapes[method], where);
      else t.regex(String(answer.Err), /\w/, where);
      if (isDone && method === 'VolumeDriver.Mount') t.regex(String(answer.Mountpoint), /^\//, where);
    }
  });
}
