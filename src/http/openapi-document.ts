/** The OpenAPI document without a running product: the routes are made, nothing is served. */
import { Registry } from 'prom-client';
import type { ControlPlane } from '../operations/control-plane.ts';
import { systemClock } from '../system/clock.ts';
import { silentLog } from '../telemetry/log.ts';
import { buildServer } from './server.ts';

export async function openApiDocument(): Promise<object> {
  const app = buildServer({
    get controlPlane(): ControlPlane {
      throw new Error('routes looked at the control plane while they were made');
    },
    logger: silentLog,
    metrics: { registry: new Registry(), httpAnswered: () => undefined },
    clock: systemClock,
  });
  await app.ready();
  const document = app.swagger();
  await app.close();
  return document;
}
