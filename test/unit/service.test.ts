import test from 'ava';
import { runUntilTold } from '../../src/bin/service.ts';

test.serial('a signal during the start ends the program when that is done, with all closed', async (t) => {
  const steps: string[] = [];
  await runUntilTold(
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
    async () => {
      process.emit('SIGTERM');
      t.is(process.listenerCount('SIGTERM'), before);
    },
    () => '',
  );
});
