/** Lines that the greetings of several programs have in common. */
import type { Config } from '../../config/config.ts';
import type { Host } from '../../host/host.ts';
import type { Listening } from '../../http/listeners.ts';

export function addressOf(config: Config, { port }: Listening): string {
  const { host } = config.listen;
  return `${config.tls === null ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

export function apiLine(config: Config, listening: Listening): string {
  return `REST      ${addressOf(config, listening)}/v1   (docs: /docs, token: ${config.adminTokenFile})`;
}

export function hostLine(config: Config, host: Host): string {
  const { simulated, reasons } = host.capabilities;
  const kind = simulated ? `simulated, because ${reasons.join('; ')}` : 'real block devices';
  return `host      ${config.host.name}: ${kind}`;
}
