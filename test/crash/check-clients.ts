/** What the clients were told, against what is: acknowledged is there, in doubt is all or nothing, bytes are the owner's. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { patternOf, patternsOn } from './bytes.ts';
import { fieldOf, listOf, textOf } from './call.ts';
import { mediumName } from './check-reality.ts';
import type { Memory } from './check-store.ts';
import type { Findings } from './findings.ts';
import { type Ledger, operationOutcome, outcomesOf, type Request } from './ledger.ts';
import { awayHost, type Handles, volumeKey } from './load.ts';
import { isUncertain, type Possible, type ResourceState, sameState } from './model.ts';
import type { Service } from './service.ts';
import type { StoreImage } from './store-image.ts';

export interface ClientCheck {
  readonly service: Service;
  readonly ledger: Ledger;
  readonly handles: Map<string, Handles>;
  readonly findings: Findings;
  readonly memory: Memory;
}

/** Operations that were acknowledged before they ended: they are there, and they have ended. */
export async function checkAccepted({ service, ledger, findings }: ClientCheck): Promise<void> {
  for (const request of ledger.openRequests().filter(({ accepted }) => accepted.length > 0)) {
    const answers = await Promise.all(
      request.accepted.map((id) => service.controller({ method: 'GET', path: `/v1/operations/${id}` })),
    );
    const outcomes = answers.map((answer) => operationOutcome(answer?.body));
    const ended = outcomes.every((outcome) => outcome !== null);
    findings.expect(ended, 'acknowledged-lost', () => `${request.accepted.join(' ')}: ${JSON.stringify(answers)}`);
    if (ended) ledger.resolve(request, outcomes);
  }
}

/** Batches that were acknowledged with their outcome say the same now. */
export async function checkBatches({ service, ledger, findings }: ClientCheck): Promise<void> {
  for (const { id, body } of ledger.batches.splice(0)) {
    const answer = await service.controller({ method: 'GET', path: `/v1/operation-batches/${id}` });
    const same = isDeepStrictEqual(listOf(answer?.body, 'operations'), listOf(body, 'operations'));
    findings.expect(
      same,
      'acknowledged-changed',
      () => `${id}: ${JSON.stringify(body)} is now ${JSON.stringify(answer?.body)}`,
    );
  }
}

/** Every resource is in a state that the requests and answers so far allow; from now on that state is the known one. */
export async function checkResources(check: ClientCheck, store: StoreImage): Promise<void> {
  const { service, ledger, findings } = check;
  const mounts = await service.agent({ method: 'GET', path: '/v1/mounts' });
  const items = listOf(mounts?.body, 'items');
  const survivors = new Map<string, readonly Possible[]>();
  for (const resource of ledger.resources()) {
    const actual = resource.startsWith('volume:')
      ? volumeNow(check, resource, store, items)
      : policyNow(check, resource, store);
    const possible = ledger.possible(resource);
    const matching = possible.filter(({ state }) => sameState(state, actual));
    const isOpen = possible.length !== 1;
    const code = isOpen ? 'in-doubt-in-part' : 'acknowledged-lost';
    findings.expect(
      matching.length > 0,
      code,
      () => `${resource} is ${JSON.stringify(actual)}, not ${JSON.stringify(possible.map(({ state }) => state))}`,
    );
    if (matching.length > 0) survivors.set(resource, matching);
    ledger.observe(resource, actual);
  }
  checkTogether(findings, survivors);
}

/** A request without an answer happened to all of its resources or to none. */
function checkTogether(findings: Findings, survivors: ReadonlyMap<string, readonly Possible[]>): void {
  const requests = new Set(
    [...survivors.values()].flatMap((list) => list.flatMap(({ happened }) => [...happened.keys()])),
  );
  for (const request of requests) {
    const mays = [...survivors.values()]
      .map((list) => new Set(list.flatMap(({ happened }) => happened.get(request) ?? [])))
      .filter((may) => may.size > 0);
    const agrees = [true, false].some((happened) => mays.every((may) => may.has(happened)));
    findings.expect(agrees, 'request-in-part', () => `request ${request} happened to some of its resources only`);
  }
}

function volumeNow(
  { handles, service, memory }: ClientCheck,
  resource: string,
  store: StoreImage,
  mounts: readonly unknown[],
): ResourceState {
  const known = handles.get(resource);
  if (known?.volumeId !== undefined) memory.owned.add(known.volumeId);
  const row = store.volumes.find(({ name }) => name !== null && volumeKey(name) === resource);
  if (row === undefined) {
    handles.delete(resource);
    return null;
  }
  const own = store.attachments.filter(({ volume_id }) => volume_id === row.id);
  const away = own.find(({ host }) => host === awayHost);
  const here = own.find(({ host }) => host === service.hostName);
  const shown = mounts.filter((each) => textOf(each, 'volumeId') === row.id);
  handles.set(resource, {
    volumeId: row.id,
    away: away?.id,
    here: here?.id,
    mounts: Object.fromEntries(shown.map((each) => [textOf(each, 'path'), textOf(each, 'id')])),
  });
  const { owner = '' } = JSON.parse(row.labels) as { owner?: string };
  const paths = here === undefined ? [] : shown.map((each) => textOf(each, 'path')).sort();
  return { kind: 'volume', owner, pool: row.pool ?? '', away: away !== undefined, mounts: paths };
}

function policyNow({ handles }: ClientCheck, resource: string, store: StoreImage): ResourceState {
  const row = store.policies.find(({ namespace }) => `policy:${namespace}` === resource);
  handles.set(resource, { policy: row?.id });
  return row === undefined ? null : { kind: 'policy', action: row.action };
}

/** Where this machine's users see each volume, by volume id. */
export function shownPaths({ ledger, handles }: ClientCheck): ReadonlyMap<string, readonly string[]> {
  const shown = new Map<string, readonly string[]>();
  for (const resource of ledger.resources()) {
    const state = ledger.known(resource)?.state;
    const volumeId = handles.get(resource)?.volumeId;
    if (state?.kind === 'volume' && volumeId !== undefined) shown.set(volumeId, state.mounts);
  }
  return shown;
}

/** What was fsynced is whole on its owner's medium, and nobody's pattern is on another's or on a free one. */
export function checkBytes({ service, ledger, findings }: ClientCheck, store: StoreImage): void {
  for (const row of store.volumes) {
    const patterns = readPatterns(findings, join(service.volumesDirectory, mediumName(row)));
    if (patterns === null) continue;
    const { owner = null } = row.state === 'allocated' ? (JSON.parse(row.labels) as { owner?: string }) : {};
    const foreign = [...patterns.keys()].filter((each) => each !== owner);
    findings.expect(
      foreign.length === 0,
      'foreign-bytes',
      () => `${mediumName(row)} (${row.state}, of ${owner}) has bytes of ${foreign.join(' ')}`,
    );
    const files = row.name === null ? [] : (ledger.files.get(volumeKey(row.name)) ?? []);
    for (const file of files) {
      const sectors = patterns.get(file.owner)?.get(file.nonce)?.size ?? 0;
      findings.expect(
        sectors === file.sectors,
        'fsynced-lost',
        () =>
          `${row.name}: ${file.nonce} of ${file.owner} has ${sectors} of ${file.sectors} sectors in ${mediumName(row)}`,
      );
    }
  }
}

/** The same through the filesystem, where it is mounted: as its user sees it. */
export function checkShownFiles({ ledger, findings }: ClientCheck): void {
  for (const [resource, files] of ledger.files) {
    const state = ledger.known(resource)?.state;
    const mounts = state?.kind === 'volume' ? state.mounts : [];
    const shown = files.flatMap((file) => mounts.map((mount) => ({ ...file, file: join(mount, file.nonce) })));
    for (const { file, owner, nonce, sectors } of shown) {
      const holds = readOrNull(file)?.equals(patternOf(owner, nonce, sectors)) ?? false;
      findings.expect(holds, 'fsynced-lost', () => `${resource}: ${file} is not what was written`);
    }
  }
}

function readOrNull(path: string): Buffer | null {
  try {
    return readFileSync(path);
  } catch {
    return null;
  }
}

function readPatterns(findings: Findings, path: string): ReturnType<typeof patternsOn> | null {
  try {
    return patternsOn(path);
  } catch (error) {
    findings.expect(false, 'medium-unreadable', () => `${path}: ${String(error)}`);
    return null;
  }
}

const replaysPerRound = 6;

/**
 * The same key again: what had an answer gets the same one, what was in the journal changes nothing. What never came
 * there happens now, and its outcome is the clients' to know.
 */
export async function checkReplays(check: ClientCheck, open: readonly Request[], store: StoreImage): Promise<void> {
  const { service, ledger, findings } = check;
  for (const request of ledger.answered.splice(0).slice(-replaysPerRound)) {
    const { answer } = request;
    const again = await service.controller(patient(request));
    findings.expect(
      isSameAnswer(answer?.body, again?.body) && answer?.status === again?.status,
      'replay-differs',
      () => `${request.key}: ${JSON.stringify(answer)}, again: ${JSON.stringify(again)}`,
    );
  }
  const journalled = new Set(store.keys.map(({ key }) => key));
  for (const request of open.filter(({ key }) => key !== null)) {
    const again = await service.controller(request.call);
    findings.expect(
      again !== null && again.status < 500,
      'replay-refused',
      () => `${request.key}: ${JSON.stringify(again)}`,
    );
    if (again === null || journalled.has(request.key ?? '')) continue;
    const late = ledger.begin({ to: request.to, call: request.call, parts: request.parts, atomic: request.atomic });
    ledger.end(late, again);
    const outcomes = outcomesOf(late, again);
    if (!outcomes.some(isUncertain)) ledger.resolve(late, outcomes);
    ledger.settle([late]);
  }
}

/** The same request, now with time to wait for its outcome. */
function patient({ call, key }: Request): Request['call'] {
  return { ...call, headers: { 'idempotency-key': key ?? '' } };
}

function isSameAnswer(first: unknown, again: unknown): boolean {
  if (fieldOf(first, 'code') !== undefined) return fieldOf(first, 'code') === fieldOf(again, 'code');
  return isDeepStrictEqual(first, again);
}
