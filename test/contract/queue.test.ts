import { InProcessQueue } from '../../src/queue/in-process/in-process-queue.ts';
import { queueContract } from '../support/queue-contract.ts';

queueContract((observer) => new InProcessQueue({ observer }));
