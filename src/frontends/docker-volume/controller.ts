/** The controller as engines need it: a change may take its time; whether it answers at all is known sooner. */
import { answeredWithin } from '../../agent/rest-controller.ts';
import type { ControllerClient } from '../../http/client.ts';
import type { VolumeDriverOptions } from './volume-driver.ts';

export interface EngineControllerOptions {
  readonly changes: Pick<ControllerClient, 'volumeCreate' | 'volumeDelete'>;
  /** Relies on its own deadline of one call being `answerMs`. */
  readonly lookups: Pick<ControllerClient, 'volumeGet' | 'volumeList' | 'poolList'>;
  readonly answerMs: number;
}

export function engineController(options: EngineControllerOptions): VolumeDriverOptions['controller'] {
  const { changes, lookups, answerMs } = options;
  return {
    volumeCreate: (volume, wait) => changes.volumeCreate(volume, wait),
    volumeDelete: (nameOrId, wait) => changes.volumeDelete(nameOrId, wait),
    volumeGet: (nameOrId) => answeredWithin(answerMs, lookups.volumeGet(nameOrId)),
    volumeList: (filter, page) => answeredWithin(answerMs, lookups.volumeList(filter, page)),
    poolList: (page) => answeredWithin(answerMs, lookups.poolList(page)),
  };
}
