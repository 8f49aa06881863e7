/** Lines that the greetings of several programs have in common. */
import type { Config } from '../../config/config.ts';
import { isLoopback } from '../../config/values.ts';
import type { Host } from '../../host/host.ts';
import type { Listening } from '../../http/listeners.ts';

export function addressOf(config: Config, { port }: Listening): string {
  const { host } = config.listen;
  return `${config.tls === null ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

export function apiLine(config: Config, listening: Listening): string {
  return `REST      ${addressOf(config, listening)}/v1   (docs: /docs, token: ${config.adminTokenFile})`;
}

export function hostLine(config: Config, host: Pick<Host, 'capabilities'>): string {
  const { simulated, reasons } = host.capabilities;
  const kind = simulated
    ? `simulated, a mount is a link to a plain directory: ${reasons.join('; ')}`
    : 'real block devices';
  return `host      ${config.host.name}: ${kind}`;
}

/** Null where nobody but this machine, or only by TLS, comes in. */
export function exposureOf({ listen, tls }: Config): string | null {
  if (tls !== null || isLoopback(listen.host)) return null;
  return 'the REST API is open to the network without TLS, so tokens can be read on their way: set tls.cert and tls.key (FCR_TLS_CERT, FCR_TLS_KEY), or listen (FCR_LISTEN) on 127.0.0.1';
}
