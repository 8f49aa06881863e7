import test from 'ava';
import fc from 'fast-check';
import { openApiDocument } from '../../src/http/openapi-document.ts';
import { Api } from '../support/api.ts';
import { FakeControlPlane } from '../support/fake-control-plane.ts';
import { type RandomRequest, randomRequests } from '../support/random-requests.ts';

const requestsInAll = 10_000;
const requestsPerWorld = 100;

interface Seen {
  refused: number;
  served: number;
}

test('10,000 random requests: never a 5xx, and a refused one changes nothing', async (t) => {
  const fake = new FakeControlPlane();
  const api = await Api.over(fake.controlPlane());
  const requests = randomRequests(await openApiDocument(), Object.values(api.tokens));
  const seen: Seen = { refused: 0, served: 0 };
  const world = fc.array(requests, { minLength: requestsPerWorld, maxLength: requestsPerWorld });
  await fc.assert(
    fc.asyncProperty(world, async (drawn) => {
      empty(fake);
      for (const request of drawn) await send(api, fake, request, seen);
    }),
    { numRuns: requestsInAll / requestsPerWorld, endOnFailure: true },
  );
  t.log(`${seen.served} served, ${seen.refused} refused`);
  t.true(seen.served > requestsInAll / 20, 'hardly anything was served: the requests are not near the right ones');
  t.true(seen.refused > requestsInAll / 20);
});

function empty(fake: FakeControlPlane): void {
  const { pools, volumes, attachments, flows, qos, hosts, nodes, batches, keys, remembered } = fake;
  for (const map of [pools, volumes, attachments, flows, qos, hosts, nodes, batches, keys, remembered]) map.clear();
}

async function send(api: Api, fake: FakeControlPlane, request: RandomRequest, seen: Seen): Promise<void> {
  const before = fake.state();
  const { method, url, payload, headers } = request;
  const answer = await api.app.inject({ method, url, headers, ...(payload === null ? {} : { payload }) });
  const told = `${method} ${url} ${payload} ${JSON.stringify(headers)} -> ${answer.statusCode} ${answer.body.slice(0, 300)}`;
  if (answer.statusCode >= 500) throw new Error(told);
  if (answer.statusCode < 400) {
    seen.served += 1;
    return;
  }
  seen.refused += 1;
  const operationFailed = fake.state() !== before && onlyBatchesGrew(before, fake.state());
  if (fake.state() !== before && !operationFailed) throw new Error(`${told} changed the state`);
  const problem: Record<string, unknown> = JSON.parse(answer.body);
  const complete = ['type', 'title', 'status', 'detail', 'code', 'retryable'].every((name) => name in problem);
  if (!complete || problem.status !== answer.statusCode) throw new Error(`${told} is no whole problem`);
}

/** An operation that was accepted and failed is recorded; nothing else may have changed. */
function onlyBatchesGrew(before: string, after: string): boolean {
  const without = (text: string) => JSON.stringify(JSON.parse(text).filter(([kind]: [string]) => kind !== 'batches'));
  return without(before) === without(after);
}
