/**
 * The controller as engines need it. No single exchange takes longer than `answerMs`, so that a controller that is away
 * is known to be away by then; a change that takes longer is followed until it has ended.
 */
import { answeredWithin } from '../../agent/rest-controller.ts';
import type { VolumeDriverOptions } from './volume-driver.ts';

export interface EngineControllerOptions {
  /** Relies on its own deadline of one call being `answerMs`. */
  readonly client: VolumeDriverOptions['controller'];
  readonly answerMs: number;
}

export function engineController({ client, answerMs }: EngineControllerOptions): VolumeDriverOptions['controller'] {
  const waitMs = answerMs / 2;
  const answered = <T>(call: Promise<T>) => answeredWithin(answerMs, call);
  return {
    volumeCreate: (volume, options) => answered(client.volumeCreate(volume, { waitMs, ...options })),
    volumeDelete: (nameOrId, options) => answered(client.volumeDelete(nameOrId, { waitMs, ...options })),
    volumeGet: (nameOrId) => answered(client.volumeGet(nameOrId)),
    volumeList: (filter, page) => answered(client.volumeList(filter, page)),
    poolList: (page) => answered(client.poolList(page)),
  };
}
