import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { runUntilTold } from '../../src/bin/service.ts';
import { Failure } from '../../src/domain/errors.ts';
import { suppressedOf } from '../../src/system/suppressed.ts';
import { SystemCallError } from '../../src/system/system-call-error.ts';

const config = { dataDir: tmpdir() };
const noSpace = 28;

function fullDiskOf(directory: string): string {
  return `The disk that holds ${directory} is full: free some space on it, then start again.`;
}

test.serial('a signal during the start ends the program when that is done, with all closed', async (t) => {
  const steps: string[] = [];
  await runUntilTold(
    config,
    async (closers) => {
      closers.add(() => steps.push('closed'));
      process.emit('SIGTERM');
      steps.push('started');
    },
    () => {
      steps.push('greeted');
      return '';
    },
  );
  t.deepEqual(steps, ['started', 'greeted', 'closed']);
});

test.serial('a second signal is no longer waited with', async (t) => {
  const before = process.listenerCount('SIGTERM');
  await runUntilTold(
    config,
    async () => {
      process.emit('SIGTERM');
      t.is(process.listenerCount('SIGTERM'), before);
    },
    () => '',
  );
});

test.serial('a start without space says the same of the data directory whatever it was about to write', async (t) => {
  const errors = [
    new SystemCallError('mkdir', noSpace),
    Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC', path: join(config.dataDir, 'lock') }),
    new Failure('device-error', 'It cannot be written.', { cause: new SystemCallError('fallocate', noSpace) }),
  ];
  for (const error of errors) {
    const told = await t.throwsAsync(
      runUntilTold(
        config,
        () => Promise.reject(error),
        () => '',
      ),
      { instanceOf: Failure, message: fullDiskOf(config.dataDir) },
    );
    t.is(told.code, 'out-of-space');
  }
});

test.serial(
  'a start that finds another disk without space names that one, and what then could not be closed',
  async (t) => {
    const closing = new Error('not closed');
    const told = await t.throwsAsync(
      runUntilTold(
        config,
        async (closers) => {
          closers.add(() => Promise.reject(closing));
          throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', path: '/proc/self/socket' });
        },
        () => '',
      ),
      { message: fullDiskOf('/proc/self') },
    );
    t.deepEqual(suppressedOf(told), [closing]);
  },
);

test.serial('the disk without space is named by what caused the failure, where that alone has a path', async (t) => {
  const cause = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', path: '/proc/self/socket' });
  const failed = () => Promise.reject(new Failure('device-error', 'It cannot be written.', { cause }));
  await t.throwsAsync(
    runUntilTold(config, failed, () => ''),
    { message: fullDiskOf('/proc/self') },
  );
});
