/** Binds the data of this machine's storage node and agent to the present store, on somebody's explicit word. */
import type { Config } from '../config/config.ts';
import { Failure } from '../domain/errors.ts';

/** Answers one sentence a part that was bound. The program that owns the data directory must not be running. */
export async function runAdopt(config: Config): Promise<readonly string[]> {
  throw new Failure('not-supported', `Adopting ${config.dataDir} cannot be done yet.`);
}
