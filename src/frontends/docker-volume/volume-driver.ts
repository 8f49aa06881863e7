/**
 * What a container engine asks of its volumes, said in the words of the controller (volumes) and of the agent (mounts).
 *
 * Owns no state: volumes and how they are mounted are the controller's, references and mounts the agent's. While the
 * controller is away, what is mounted here still answers.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Agent } from '../../agent/agent.ts';
import { isAway } from '../../agent/controller-link.ts';
import { isWanted, type MountRecord } from '../../agent/mount-journal.ts';
import type { MountRequest } from '../../agent/mounts.ts';
import type { DockerConfig } from '../../config/config.ts';
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import { parseName } from '../../domain/names.ts';
import type { Pool } from '../../domain/pool.ts';
import type { Volume } from '../../domain/volume.ts';
import type { ControllerClient, NewVolume } from '../../http/client.ts';
import { backoffMs } from '../../http/client-transport.ts';
import { inTime } from './answer-in-time.ts';
import { JoinedCalls } from './joined-calls.ts';
import {
  type Entrance,
  entrances,
  isMadeThrough,
  type MountManner,
  madeThrough,
  mannerOf,
  parseOptions,
  type VolumeWish,
} from './options.ts';
import { isAboutPools, isComing, placesFor, withPools } from './place.ts';

export type Scope = 'local' | 'global';

export interface VolumeDriverOptions {
  readonly agent: Pick<Agent, 'mounts' | 'mount' | 'unmountReference' | 'endUnused'>;
  readonly controller: Pick<
    ControllerClient,
    'volumeCreate' | 'volumeGet' | 'volumeList' | 'volumeDelete' | 'volumeDeletable' | 'poolList'
  >;
  readonly scope: Scope;
  /** `any` when absent. */
  readonly removes?: DockerConfig['removes'];
  /** `engines` when absent. */
  readonly entrance?: Entrance;
  /** Of all entrances together; its own when absent. */
  readonly underWay?: CallsUnderWay;
  /** `limits.dockerLookupMs` when absent. */
  readonly lookupMs?: number;
}

export interface VolumeShown {
  readonly Name: string;
  readonly Mountpoint: string;
  readonly CreatedAt: string;
  readonly Status: Readonly<Record<string, unknown>>;
}

export class VolumeDriver {
  readonly #agent: VolumeDriverOptions['agent'];
  readonly #controller: VolumeDriverOptions['controller'];
  readonly scope: Scope;
  readonly #removes: DockerConfig['removes'];
  readonly #entrance: Entrance;
  readonly #lookupMs: number;
  readonly #mounting: CallsUnderWay['mounting'];
  readonly #ending: CallsUnderWay['ending'];

  constructor(options: VolumeDriverOptions) {
    const { agent, controller, scope, removes = 'any', entrance = 'engines' } = options;
    const { mounting, ending } = options.underWay ?? new CallsUnderWay();
    this.#mounting = mounting;
    this.#ending = ending;
    this.#agent = agent;
    this.#controller = controller;
    this.scope = scope;
    this.#removes = removes;
    this.#entrance = entrance;
    this.#lookupMs = options.lookupMs ?? limits.dockerLookupMs;
  }

  /** Again with equal or no options: the volume that is there. */
  async create(name: string, options: Readonly<Record<string, string>> | null): Promise<void> {
    parseName(name, 'Name');
    const wish = parseOptions(options);
    for (const entrance of entrances) this.#ending.close(removalOf(name, entrance));
    await this.#orHere(
      name,
      () => this.#create(name, wish),
      () => {
        if (Object.keys(wish).length > 0) return undefined;
        return this.#here(name);
      },
    );
  }

  /** Absent is success; while it runs, the same again waits for it. `volume-in-use` says who holds it; `not-supported`: it is not the engines' to remove. */
  async remove(name: string): Promise<void> {
    await this.#ending.join(removalOf(name, this.#entrance), () => this.#remove(name));
  }

  /**
   * Answers the mount point: an empty directory of the volume's filesystem at its first mount. An engine that does not
   * await it any more starts no container on it, and never takes its need back: that ends with the call.
   */
  async mount(name: string, reference: string, isAwaited = () => true): Promise<string> {
    const here = this.#here(name);
    const isNew = here?.references?.includes(reference) !== true;
    const call = this.#mounting.enter(userOf(name, reference));
    this.#ending.close(userOf(name, reference));
    try {
      const wish = here === undefined ? await this.#wishOf(name) : { volume: here.volumeId, ...mannerOfRecord(here) };
      const { path } = await this.#agent.mount({ ...wish, reference });
      // Another call for the same, such as the repeat of this one, may have been answered, or will be.
      if (isNew && !call.isShared && !isAwaited()) await this.unmount(name, reference);
      return path;
    } finally {
      this.#mounting.leave(call);
    }
  }

  /** While it runs, the same again waits for it. */
  async unmount(name: string, reference: string): Promise<void> {
    await this.#ending.join(userOf(name, reference), () => this.#agent.unmountReference(name, reference));
  }

  /** Empty while it is not mounted here. */
  async path(name: string): Promise<string> {
    return (await this.get(name)).Mountpoint;
  }

  async get(name: string): Promise<VolumeShown> {
    return await this.#orHere(
      name,
      async () => shownVolume(await this.#existing(name), this.#here(name)),
      () => {
        const here = this.#here(name);
        return here === undefined ? undefined : shownRecord(here);
      },
    );
  }

  async list(): Promise<readonly VolumeShown[]> {
    const here = new Map(this.#shared().map((record) => [record.volume, record]));
    try {
      const all = this.#allVolumes();
      const volumes = await (here.size === 0 ? all : this.#soon(all));
      return volumes.map((volume) => shownVolume(volume, here.get(volume.name ?? '')));
    } catch (error) {
      if (here.size === 0 || !cannotBeAsked(error)) throw error;
      return [...here.values()].map(shownRecord);
    }
  }

  /** Volumes that are about to be free are waited for: whoever has just removed one rightly expects that it can be had. */
  async #create(name: string, wish: VolumeWish): Promise<void> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#createAnyWay(name, wish);
      } catch (error) {
        if (!isAboutPools(error)) throw error;
        const pools = await this.#pools().catch(() => null);
        if (pools === null) throw error;
        const isWorthWaiting = error.code === 'pool-exhausted' && isComing(wish, pools);
        if (!isWorthWaiting || tries === limits.dockerPoolTries) throw withPools(error, pools);
      }
      await pause(backoffMs(tries, null));
    }
  }

  /** What is there is asked for by what was stated; which label of engines it has depends on when and where it was made. */
  async #createAnyWay(name: string, wish: VolumeWish): Promise<void> {
    const own = this.#removes === 'any' ? null : this.#entrance;
    const others = [null, ...entrances].filter((each) => each !== own);
    const [first = wish, ...further] = [own, ...others].map((each) => (each === null ? wish : madeThrough(each, wish)));
    try {
      await this.#createAnywhere(name, first);
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'name-taken') throw error;
      if (!(await this.#isThere(name, further))) throw error;
    }
  }

  async #isThere(name: string, wishes: readonly VolumeWish[]): Promise<boolean> {
    for (const wish of wishes) {
      const isAnswered = this.#createAnywhere(name, wish).then(
        () => true,
        () => false,
      );
      if (await isAnswered) return true;
    }
    return false;
  }

  async #remove(name: string): Promise<void> {
    const removed = this.#removes === 'any' ? parseName(name, 'Name') : await this.#ownId(name);
    if (removed === null) return;
    await this.#endHere(name);
    try {
      await this.#controller.volumeDelete(removed);
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'volume-not-found') throw error;
    }
  }

  /** Users that are on record here are given up only for a removal that the controller lets this token ask for. */
  async #endHere(name: string): Promise<void> {
    if (!this.#agent.mounts().some(({ volume }) => volume === name)) return;
    await this.#controller.volumeDeletable();
    await this.#agent.endUnused(name);
  }

  async #ownId(name: string): Promise<string | null> {
    const volume = await this.#controller.volumeGet(parseName(name, 'Name'));
    if (volume === null || isMadeThrough(this.#entrance, volume.labels)) return volume?.id ?? null;
    const why = `Engines remove only what they have made (docker.removes), and "${name}" was not made so`;
    throw new Failure('not-supported', `${why}: fcr volume delete ${name} removes it.`);
  }

  async #createAnywhere(name: string, wish: VolumeWish): Promise<void> {
    const { filesystem, ...fields } = wish;
    if (filesystem === undefined) {
      await this.#controller.volumeCreate({ name, ...fields });
      return;
    }
    const present = await this.#controller.volumeGet(name);
    const places = present === null ? placesFor(wish, filesystem, await this.#pools()) : [null];
    const volume = await this.#createInOneOf(places, { name, ...fields });
    if (volume.filesystem === filesystem) return;
    throw new Failure('name-taken', `A volume "${name}" exists already, with ${volume.filesystem}.`);
  }

  /** The controller, which is told one pool, cannot go on to the next one that has the filesystem. */
  async #createInOneOf([pool = null, ...others]: readonly (string | null)[], volume: NewVolume): Promise<Volume> {
    try {
      return await this.#controller.volumeCreate(pool === null ? volume : { ...volume, pool });
    } catch (error) {
      if (others.length === 0 || !(error instanceof Failure) || error.code !== 'pool-exhausted') throw error;
    }
    return await this.#createInOneOf(others, volume);
  }

  async #pools(): Promise<readonly Pool[]> {
    return (await this.#controller.poolList({ pageSize: limits.pools })).items;
  }

  async #wishOf(name: string): Promise<MountRequest> {
    const { id, labels } = await this.#existing(name);
    return { volume: id, knownAs: name, ...mannerOf(labels) };
  }

  async #existing(name: string): Promise<Volume> {
    const volume = isName(name) ? await this.#controller.volumeGet(name) : null;
    if (volume === null) throw new Failure('volume-not-found', `no such volume: ${name}`);
    return volume;
  }

  async #allVolumes(): Promise<readonly Volume[]> {
    const volumes: Volume[] = [];
    let page = await this.#controller.volumeList({ state: 'allocated' }, { pageSize: limits.pageSizeMax });
    for (;;) {
      volumes.push(...page.items);
      const { nextPageToken: pageToken } = page;
      if (pageToken === null) return volumes;
      page = await this.#controller.volumeList({ state: 'allocated' }, { pageSize: limits.pageSizeMax, pageToken });
    }
  }

  /** Asks the controller, and while it is away or silent answers from what is mounted here, if that suffices. */
  async #orHere<T, H>(name: string, ask: () => Promise<T>, local: () => H | undefined): Promise<T | H> {
    const here = () => (isName(name) ? local() : undefined);
    try {
      return await (here() === undefined ? ask() : this.#soon(ask()));
    } catch (error) {
      const answer = cannotBeAsked(error) ? here() : undefined;
      if (answer === undefined) throw error;
      return answer;
    }
  }

  #soon<T>(answer: Promise<T>): Promise<T> {
    const silent = () => new Failure('deadline-exceeded', `No answer within ${this.#lookupMs} ms.`);
    return inTime(answer, this.#lookupMs, silent);
  }

  #here(name: string): MountRecord | undefined {
    return this.#shared().find((record) => record.volume === name);
  }

  /** What nobody needs at the moment, and is there all the same, included. */
  #shared(): readonly MountRecord[] {
    return this.#agent.mounts().filter(({ state, references }) => state === 'mounted' && references !== undefined);
  }
}

/** Shared by all who use the same volumes: what one asks for may end what another would otherwise join. */
export class CallsUnderWay {
  readonly mounting = new SameCalls();
  readonly ending = new JoinedCalls();
}

interface SameCall {
  readonly key: string;
  running: number;
  /** Another one ran at the same time, at some moment. */
  isShared: boolean;
}

class SameCalls {
  readonly #calls = new Map<string, SameCall>();

  enter(key: string): SameCall {
    const call = this.#calls.get(key) ?? { key, running: 0, isShared: false };
    call.isShared ||= call.running > 0;
    call.running += 1;
    this.#calls.set(key, call);
    return call;
  }

  leave(call: SameCall): void {
    call.running -= 1;
    if (call.running === 0) this.#calls.delete(call.key);
  }
}

/** What one entrance may remove another may not: their removals are not the same call. */
function removalOf(name: string, entrance: Entrance): string {
  return JSON.stringify(['removal', name, entrance]);
}

function userOf(name: string, reference: string): string {
  return JSON.stringify([name, reference]);
}

function isName(name: string): boolean {
  try {
    parseName(name);
    return true;
  } catch {
    return false;
  }
}

/** What is mounted here is then answered from here. */
function cannotBeAsked(error: unknown): boolean {
  return isAway(error) || (error instanceof Failure && error.code === 'deadline-exceeded');
}

function mannerOfRecord({ readOnly, uid, gid, mode }: MountRecord): MountManner {
  return {
    readOnly,
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(mode === undefined ? {} : { mode }),
  };
}

function mountPointOf(here: MountRecord | undefined): string {
  return here !== undefined && isWanted(here) ? here.path : '';
}

function shownVolume(volume: Volume, here: MountRecord | undefined): VolumeShown {
  const { name, createdAt, allocatedAt, pool, wwid, state, qosPolicy, sizeBytes, filesystem, attachments } = volume;
  return {
    Name: name ?? volume.id,
    Mountpoint: mountPointOf(here),
    CreatedAt: new Date(allocatedAt ?? createdAt).toISOString(),
    Status: { id: volume.id, pool, wwid, state, qos: qosPolicy, sizeBytes, filesystem, attachments, ...local(here) },
  };
}

/** What this host knows by itself. */
function shownRecord(here: MountRecord): VolumeShown {
  const { sizeBytes = null, wwid = null } = here.held?.target ?? {};
  return {
    Name: here.volume,
    Mountpoint: mountPointOf(here),
    CreatedAt: new Date(here.createdAt).toISOString(),
    Status: { id: here.volumeId, wwid, sizeBytes, filesystem: here.held?.filesystem ?? null, ...local(here) },
  };
}

function local(here: MountRecord | undefined): Record<string, unknown> {
  if (here === undefined) return { device: null, paths: [] };
  return { device: here.device, paths: here.held?.target.paths ?? [], references: here.references ?? [] };
}
