/**
 * The controller as engines need it. No single exchange takes longer than `answerMs`, so that a controller that is away
 * is known to be away by then, and at once where the agent knows it; a change that takes longer is followed until it has
 * ended.
 */
import type { Agent } from '../../agent/agent.ts';
import { answeredWithin } from '../../agent/rest-controller.ts';
import type { VolumeDriverOptions } from './volume-driver.ts';

export interface EngineControllerOptions {
  /** Relies on its own deadline of one call being `answerMs`. */
  readonly client: VolumeDriverOptions['controller'];
  readonly answerMs: number;
  readonly agent: Pick<Agent, 'share'>;
}

export function engineController(options: EngineControllerOptions): VolumeDriverOptions['controller'] {
  const { client, answerMs, agent } = options;
  const waitMs = answerMs / 2;
  const answered = <T>(call: () => Promise<T>) => agent.share(() => answeredWithin(answerMs, call()));
  return {
    volumeCreate: (volume, wait) => answered(() => client.volumeCreate(volume, { waitMs, ...wait })),
    volumeDelete: (nameOrId, wait) => answered(() => client.volumeDelete(nameOrId, { waitMs, ...wait })),
    volumeDeletable: () => answered(() => client.volumeDeletable()),
    volumeGet: (nameOrId) => answered(() => client.volumeGet(nameOrId)),
    volumeList: (filter, page) => answered(() => client.volumeList(filter, page)),
    poolList: (page) => answered(() => client.poolList(page)),
  };
}
