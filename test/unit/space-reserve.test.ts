import test from 'ava';
import { SpaceReserve } from '../../src/backends/file/space-reserve.ts';
import { Failure } from '../../src/domain/errors.ts';

const keepsAll = { reserveBytes: 0, reservePercent: 100 };

test('what does not fit beyond the reserve is refused with sizes that people read', async (t) => {
  const told = await t.throwsAsync(
    new SpaceReserve('/', keepsAll).admit(1.5 * 1024 ** 3, async () => t.fail('it was admitted')),
    { instanceOf: Failure, message: '1.5GiB are needed, 0B may still be taken.' },
  );
  t.is(told.code, 'out-of-space');
});
