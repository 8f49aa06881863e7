/** Requests as a histogram: by route (the pattern, never the URL), method and class of status. */
import { Histogram, type Registry } from 'prom-client';
import type { App } from './app.ts';

const bucketsSeconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export function observeRequests(app: App, metrics: Registry): void {
  const durations = new Histogram({
    name: 'fc_redirect_http_request_duration_seconds',
    help: 'Time from a request to its answer, waits for operations included.',
    labelNames: ['method', 'route', 'status'],
    buckets: bucketsSeconds,
    registers: [metrics],
  });
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'none';
    const status = `${Math.floor(reply.statusCode / 100)}xx`;
    durations.observe({ method: request.method, route, status }, reply.elapsedTime / 1000);
    done();
  });
}
