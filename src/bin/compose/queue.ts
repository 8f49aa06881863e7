import type { Logger } from 'pino';
import type { Config } from '../../config/config.ts';
import { InProcessQueue } from '../../queue/in-process/in-process-queue.ts';
import type { Queue, QueueMessage } from '../../queue/queue.ts';
import type { Metrics } from '../../telemetry/metrics.ts';

/** BullMQ and its Redis client are loaded only where they are used. */
export async function openQueue(config: Config, metrics: () => Metrics, log: Logger): Promise<Queue> {
  const observer = {
    handoverFailed: (kind: QueueMessage) => metrics().queueHandoverFailed(kind),
    errored: (where: string, error: unknown) =>
      log.warn({ err: error, where }, 'the queue had trouble; the journal makes up for it'),
  };
  if (config.queue.kind === 'in-process') return new InProcessQueue({ observer });
  const { BullMqQueue } = await import('../../queue/bullmq/bullmq-queue.ts');
  return new BullMqQueue({ url: config.queue.redisUrl, observer });
}
