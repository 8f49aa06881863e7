import test from 'ava';
import { survivesRandomRequests } from '../contract/random-requests-suite.ts';

test('10,000 random requests: never a 5xx, and a refused one changes nothing', async (t) => {
  t.timeout(600_000);
  await survivesRandomRequests(t, 10_000);
});
