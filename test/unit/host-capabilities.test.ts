import test from 'ava';
import { Failure } from '../../src/domain/errors.ts';
import { probeCapabilities } from '../../src/host/linux/capabilities.ts';
import { errnoOf, SystemCallError } from '../../src/system/system-call-error.ts';

const settings = { root: '/nowhere', stateDirectory: '/nowhere', callDeadlineMs: 1_000 };

/** Each probe fails: that of loop devices as a machine without them, that of mounts as given. */
function poolWhoseMountFails(error: Error) {
  const run = async (probe: string): Promise<never> => {
    throw probe === 'probeMount' ? error : new Failure('not-supported', 'there are none');
  };
  return { run };
}

test('a machine that has as many mounts as it may is one without mounts, not one with a full disk', async (t) => {
  const { mount, reasons } = await probeCapabilities(
    poolWhoseMountFails(new SystemCallError('mount', errnoOf('ENOSPC'))),
    settings,
  );
  t.false(mount);
  t.deepEqual(reasons, ['no loop devices (there are none)', 'no mounts (mount: ENOSPC)']);
});

test('a full disk says nothing about the machine', async (t) => {
  const full = new SystemCallError('mkdir', errnoOf('ENOSPC'));
  t.is(await t.throwsAsync(probeCapabilities(poolWhoseMountFails(full), settings)), full);
});
