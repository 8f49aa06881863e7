/** Random requests against the whole control plane: whatever is asked, the answer is one of ours. */
import type { ExecutionContext } from 'ava';
import fc from 'fast-check';
import { openApiDocument } from '../../src/http/openapi-document.ts';
import type { Api } from '../support/api.ts';
import { type ControlPlaneWorld, openApi } from '../support/control-plane-world.ts';
import { type RandomRequest, randomRequests } from '../support/random-requests.ts';

const requestsPerRun = 100;
const firstPage = { pageSize: 1_000, pageToken: null };

interface Seen {
  refused: number;
  served: number;
}

/** `settings`: of the store, where it is not the embedded one. */
export async function survivesRandomRequests(
  t: ExecutionContext,
  requestsInAll: number,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { api, world } = await openApi(t, undefined, settings);
  // Reconcilers change things by themselves; without them every change is a request's.
  await world.controlPlane.maintenance.close();
  const requests = randomRequests(await openApiDocument(), Object.values(api.tokens));
  const seen: Seen = { refused: 0, served: 0 };
  const run = fc.array(requests, { minLength: requestsPerRun, maxLength: requestsPerRun });
  await fc.assert(
    fc.asyncProperty(run, async (drawn) => {
      for (const request of drawn) await send(api, world, request, seen);
    }),
    { numRuns: requestsInAll / requestsPerRun, endOnFailure: true },
  );
  t.log(`${seen.served} served, ${seen.refused} refused`);
  t.true(seen.served > requestsInAll / 20, 'hardly anything was served: the requests are not near the right ones');
  t.true(seen.refused > requestsInAll / 20);
}

/** Rises with every change of the store; tokens are outside of it. */
async function mark(
  world: ControlPlaneWorld,
  url: string,
): Promise<{ readonly cursor: string; readonly tokens: string }> {
  const tokens = url.startsWith('/v1/tokens') ? JSON.stringify(await world.store.tokenList(firstPage)) : '';
  return { cursor: await world.store.eventsHead(), tokens };
}

async function send(api: Api, world: ControlPlaneWorld, request: RandomRequest, seen: Seen): Promise<void> {
  await settled(world);
  const before = await mark(world, request.url);
  const { method, url, payload, headers } = request;
  const answer = await api.app.inject({ method, url, headers, ...(payload === null ? {} : { payload }) });
  const told = `${method} ${url} ${payload} ${JSON.stringify(headers)} -> ${answer.statusCode} ${answer.body.slice(0, 300)}`;
  if (answer.statusCode >= 500) throw new Error(told);
  if (answer.statusCode < 400) {
    seen.served += 1;
    return;
  }
  seen.refused += 1;
  const after = await mark(world, url);
  const changed = after.tokens !== before.tokens || !(await onlyBatchesEnded(world, before.cursor));
  if (changed) throw new Error(`${told} changed the state`);
  checkProblem(JSON.parse(answer.body), answer.statusCode, told);
}

/** Nothing waits for the worker any more, so that what follows is the next request's. */
async function settled(world: ControlPlaneWorld): Promise<void> {
  while ((await world.store.backlog()).acceptedBatches > 0) await new Promise((resolve) => setImmediate(resolve));
}

/** An operation that was accepted and failed is recorded; nothing else may have changed. */
async function onlyBatchesEnded(world: ControlPlaneWorld, cursor: string): Promise<boolean> {
  const events = await world.store.eventsAfter(cursor, firstPage.pageSize);
  return events.every((event) => event.kind === 'batch');
}

function checkProblem(problem: Record<string, unknown>, status: number, told: string): void {
  const complete = ['type', 'title', 'status', 'detail', 'code', 'retryable'].every((name) => name in problem);
  if (!complete || problem.status !== status) throw new Error(`${told} is no whole problem`);
}
