import test from 'ava';
import { Remembered } from '../../src/system/remembered.ts';

/** Looks that end when they are told to, by a clock that stands. */
class World {
  nowMs = 1_000;
  readonly looks: PromiseWithResolvers<string>[] = [];
  readonly remembered = new Remembered(() => this.#look(), { clock: { monotonic: () => this.nowMs }, lifetimeMs: 100 });

  #look(): Promise<string> {
    const look = Promise.withResolvers<string>();
    this.looks.push(look);
    return look.promise;
  }
}

test('all who ask while one looks, and for a while after, get its answer', async (t) => {
  const { remembered, looks } = new World();
  const asked = [remembered.get(), remembered.get()];
  looks[0]?.resolve('first');
  t.deepEqual(await Promise.all(asked), ['first', 'first']);
  t.is(await remembered.get(), 'first');
  t.is(looks.length, 1);
});

test('after that while it is looked for anew', async (t) => {
  const world = new World();
  const { remembered, looks } = world;
  const first = remembered.get();
  looks[0]?.resolve('first');
  await first;
  world.nowMs += 99;
  t.is(await remembered.get(), 'first');
  world.nowMs += 1;
  const second = remembered.get();
  looks[1]?.resolve('second');
  t.is(await second, 'second');
});

test('a look that takes long is not joined by another one, and its time counts from its end', async (t) => {
  const world = new World();
  const { remembered, looks } = world;
  const asked = remembered.get();
  world.nowMs += 10_000;
  const later = remembered.get();
  t.is(looks.length, 1);
  looks[0]?.resolve('first');
  t.deepEqual(await Promise.all([asked, later]), ['first', 'first']);
  world.nowMs += 99;
  t.is(await remembered.get(), 'first');
});

test('a look that fails is not repeated by each who asks', async (t) => {
  const world = new World();
  const { remembered, looks } = world;
  const failed = remembered.get();
  looks[0]?.reject(new Error('away'));
  await t.throwsAsync(failed, { message: 'away' });
  await t.throwsAsync(remembered.get(), { message: 'away' });
  t.is(looks.length, 1);
  world.nowMs += 100;
  const again = remembered.get();
  looks[1]?.resolve('back');
  t.is(await again, 'back');
});
