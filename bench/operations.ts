import { bareTransactions } from './support/bare-transactions.ts';
import { type Bench, numberOption, type OptionValues, type Progress, textOption } from './support/bench.ts';
import type { Figures } from './support/figures.ts';
import { measureOperations, type OperationRun } from './support/operation-load.ts';
import { mixTypes } from './support/operation-mix.ts';
import { Services } from './support/services.ts';

export const bench: Bench = {
  about:
    'operations a second from REST to a durable outcome, beside bare transactions of the same rows and beside itself without grouping',
  options: {
    store: { about: 'where the truth is kept', default: 'sqlite', among: ['sqlite', 'postgres'] },
    queue: { about: 'how workers are woken', default: 'in-process', among: ['in-process', 'bullmq'] },
    seconds: { about: 'how long the load lasts', default: 30 },
    clients: { about: 'requests under way', default: 24 },
    bulk: { about: 'operations of one request', default: 100 },
    gain: { about: 'whether the runs without grouping are made', default: 'yes', among: ['yes', 'no'] },
  },
  bounds: (options) => ({
    ratio: { atLeast: 0.4 },
    operationsPerSecond: { atLeast: textOption(options, 'store') === 'postgres' ? 6_000 : 10_000 },
    ...(textOption(options, 'gain') === 'yes' ? { batchGain: { atLeast: 10 } } : {}),
    lost: { atMost: 0 },
    errors: { atMost: 0 },
  }),
  async run(options, progress) {
    const services = await Services.start(options);
    try {
      return await figures(services, options, progress);
    } finally {
      await services.close();
    }
  },
};

async function figures(services: Services, options: OptionValues, progress: Progress): Promise<Figures> {
  const seconds = numberOption(options, 'seconds');
  progress(`${seconds} s of load`);
  const main = await measureOperations(await services.environment(), {
    clients: numberOption(options, 'clients'),
    seconds,
    bulk: numberOption(options, 'bulk'),
  });
  const { tally, rowsPerOperation, groupOperations } = main;
  if (tally.firstError !== null) progress(`first error: ${tally.firstError}`);
  const rate = tally.ended / tally.seconds;
  progress('the same rows as bare transactions');
  const bareRows = await bareTransactions({
    postgresUrl: await services.database(),
    operations: Math.round(groupOperations),
    seconds: Math.min(10, seconds),
  });
  const limit = bareRows / rowsPerOperation;
  return {
    operationsPerSecond: Math.round(rate),
    ...Object.fromEntries(
      mixTypes.map((type) => [`${type}PerSecond`, Math.round((tally.byType.get(type) ?? 0) / tally.seconds)]),
    ),
    p50Ms: round(tally.latencies.quantile(0.5)),
    p99Ms: round(tally.latencies.quantile(0.99)),
    errors: tally.errors,
    lost: tally.lost,
    wipeBacklog: main.wipeBacklog,
    groupOperations: Math.round(groupOperations),
    groupsPerSecond: round(main.commitsPerSecond),
    rowsPerOperation: round(rowsPerOperation),
    limitOperationsPerSecond: Math.round(limit),
    ratio: round(rate / limit),
    ...(textOption(options, 'gain') === 'yes' ? await gains(services, rate, seconds, progress) : {}),
  };
}

async function gains(services: Services, rate: number, seconds: number, progress: Progress): Promise<Figures> {
  const alone = { seconds: Math.min(15, seconds), bulk: 1, groupBatches: 1 };
  progress('one operation a commit, 16 clients');
  const sixteen = await measureOperations(await services.environment(), { ...alone, clients: 16 });
  progress('one operation a commit, one client');
  const serial = await measureOperations(await services.environment(), { ...alone, clients: 1 });
  const perSecond = ({ tally }: OperationRun) => tally.ended / tally.seconds;
  return {
    ungroupedPerSecond: Math.round(perSecond(sixteen)),
    ungroupedSerialPerSecond: Math.round(perSecond(serial)),
    batchGain: round(rate / perSecond(sixteen)),
    batchGainSerial: round(rate / perSecond(serial)),
  };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
