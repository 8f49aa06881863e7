/** How the configuration's controller is reached by its clients, and which token they show to it. */
import type { Config } from '../config/config.ts';
import { Failure } from '../domain/errors.ts';
import type { Endpoint, ReadToken } from './client-transport.ts';

/** Throws when it cannot be read. */
export type ReadText = (path: string) => string;

/** The controller's socket on this machine where nothing else is stated. */
export function endpointOf({ client, controllerSocket }: Config, readText: ReadText): Endpoint {
  const { server, serverCaFile } = client;
  if (server === null || server.startsWith('/')) return { socketPath: server ?? controllerSocket };
  return serverCaFile === null ? { url: server } : { url: server, tls: { ca: readText(serverCaFile) } };
}

/** The stated token, else that of the stated file; null where none is stated. */
export function tokenOf({ client: { token, tokenFile } }: Config, readText: ReadText): string | null {
  return token !== null || tokenFile === null ? token : tokenIn(tokenFile, readText);
}

/** As `tokenOf`, for a program that runs for long: a token that is replaced in its file is taken up. */
export function tokenSourceOf({ client: { token, tokenFile } }: Config, readText: ReadText): string | ReadToken | null {
  return token !== null || tokenFile === null ? token : () => tokenIn(tokenFile, readText);
}

export function tokenIn(path: string, readText: ReadText): string {
  const text = contentOf(path, readText).trim();
  if (text === '') throw new Failure('invalid-configuration', `The token file ${path} is empty.`);
  return text;
}

function contentOf(path: string, readText: ReadText): string {
  try {
    return readText(path);
  } catch (cause) {
    throw new Failure('invalid-configuration', `The token file ${path} cannot be read.`, { cause });
  }
}
