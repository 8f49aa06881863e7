/** The API and the workers of a distributed deployment; its agents and storage nodes are processes of their own. */
import type { Config } from '../config/config.ts';
import { Failure } from '../domain/errors.ts';

export interface ControllerParts {
  readonly api: boolean;
  readonly worker: boolean;
}

/** Runs until the process is told to end. */
export async function runController(config: Config, parts: ControllerParts): Promise<void> {
  const asked = `api ${parts.api}, worker ${parts.worker}, store ${config.store.kind}`;
  throw new Failure('not-supported', `The controller cannot run by itself yet (${asked}); fcr standalone does.`);
}
