import test from 'ava';
import { Closers } from '../../src/bin/compose/closers.ts';
import { Failure } from '../../src/domain/errors.ts';
import { suppressedOf } from '../../src/system/suppressed.ts';

/** Four, of which the second and the third fail. */
function closersOf(closed: string[]): Closers {
  const closers = new Closers();
  addTo(closers, closed);
  return closers;
}

function addTo(closers: Closers, closed: string[]): void {
  for (const name of ['first', 'second', 'third', 'fourth']) {
    closers.add(() => {
      closed.push(name);
      if (name === 'second' || name === 'third') throw new Error(name);
    });
  }
}

test('all are closed in the opposite order, also behind one that fails; the first error is told, with the others', async (t) => {
  const closed: string[] = [];
  const error = await t.throwsAsync(closersOf(closed).close(), { message: 'third' });
  t.deepEqual(closed, ['fourth', 'third', 'second', 'first']);
  t.deepEqual(suppressedOf(error).map(String), ['Error: second']);
});

test('what kept a start from succeeding is told, not what then failed to close', async (t) => {
  const closed: string[] = [];
  const cause = new Failure('resource-in-use', 'The port is taken.');
  const opening = Closers.over(async (closers) => {
    addTo(closers, closed);
    throw cause;
  });
  t.is(await t.throwsAsync(opening), cause);
  t.deepEqual(closed, ['fourth', 'third', 'second', 'first']);
  t.deepEqual(suppressedOf(cause).map(String), ['Error: third', 'Error: second']);
});

test('each is closed once', async (t) => {
  const closed: string[] = [];
  const closers = closersOf(closed);
  await t.throwsAsync(closers.close());
  await closers.close();
  t.is(closed.length, 4);
});
