import test from 'ava';
import { limits } from '../../src/config/limits.ts';
import type { Principal } from '../../src/domain/principal.ts';
import { hashToken, newTokenSecret, TokenCache } from '../../src/http/token-cache.ts';

const principal: Principal = { id: 'tok_1', name: 'ci', role: 'viewer', host: null };

/** A store of tokens that counts how often it is asked, and a clock that is set by hand. */
function setUp() {
  const known = new Map<string, Principal>();
  const world = { asked: 0, now: 0, known };
  const find = async (hash: string) => {
    world.asked += 1;
    return known.get(hash) ?? null;
  };
  const clock = { now: () => world.now, monotonic: () => world.now };
  return { world, cache: new TokenCache(find, clock) };
}

test('a secret has 256 random bits and is found by its hash', async (t) => {
  const { world, cache } = setUp();
  const secret = newTokenSecret();
  t.regex(secret, /^fcr_[A-Za-z0-9_-]{43}$/);
  t.not(secret, newTokenSecret());
  world.known.set(hashToken(secret), principal);
  t.is(await cache.principalOf(secret), principal);
});

test('the store is asked once within the time to live, and again after it', async (t) => {
  const { world, cache } = setUp();
  const secret = newTokenSecret();
  world.known.set(hashToken(secret), principal);
  for (let n = 0; n < 10; n += 1) await cache.principalOf(secret);
  t.is(world.asked, 1);
  world.now += limits.tokenCacheMs;
  await cache.principalOf(secret);
  t.is(world.asked, 2);
});

test('what is no token of ours is refused without asking the store', async (t) => {
  const { world, cache } = setUp();
  for (const text of ['', 'x', 'fcr_', `fcr_${'a'.repeat(42)}`, `fcr_${'a'.repeat(44)}`, `fcr_${'!'.repeat(43)}`]) {
    t.is(await cache.principalOf(text), null);
  }
  t.is(world.asked, 0);
});

test('an unknown token is asked for every time', async (t) => {
  const { world, cache } = setUp();
  const secret = newTokenSecret();
  t.is(await cache.principalOf(secret), null);
  world.known.set(hashToken(secret), principal);
  t.is(await cache.principalOf(secret), principal);
});

test('after a revocation nothing old is answered, not even what was being asked for', async (t) => {
  const { world, cache } = setUp();
  const secret = newTokenSecret();
  world.known.set(hashToken(secret), principal);
  const underWay = cache.principalOf(secret);
  world.known.clear();
  cache.clear();
  await underWay;
  t.is(await cache.principalOf(secret), null);
});

test('the cache holds a bounded number of tokens', async (t) => {
  const { world, cache } = setUp();
  const secrets = Array.from({ length: limits.tokenCacheEntries + 1 }, () => newTokenSecret());
  for (const secret of secrets) world.known.set(hashToken(secret), principal);
  for (const secret of secrets) await cache.principalOf(secret);
  const asked = world.asked;
  await cache.principalOf(secrets.at(-1) ?? '');
  t.is(world.asked, asked);
  await cache.principalOf(secrets[0] ?? '');
  t.is(world.asked, asked + 1);
});
