import type { Logger } from 'pino';
import type { Config } from '../../config/config.ts';
import { BullMqQueue } from '../../queue/bullmq/bullmq-queue.ts';
import { InProcessQueue } from '../../queue/in-process/in-process-queue.ts';
import type { Queue } from '../../queue/queue.ts';
import type { Metrics } from '../../telemetry/metrics.ts';

export function openQueue(config: Config, metrics: () => Metrics, log: Logger): Queue {
  const observer = {
    handoverFailed: (kind: 'wake' | 'announcement' | 'schedule') => metrics().queueHandoverFailed(kind),
    errored: (where: string, error: unknown) =>
      log.warn({ err: error, where }, 'the queue had trouble; the journal makes up for it'),
  };
  if (config.queue.kind === 'bullmq') return new BullMqQueue({ url: config.queue.redisUrl, observer });
  return new InProcessQueue({ observer });
}
