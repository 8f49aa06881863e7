import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Bench, numberOption, type Progress } from './support/bench.ts';
import type { Figures } from './support/figures.ts';
import { measureOperations } from './support/operation-load.ts';
import { populateStore, storeBytes } from './support/populated-store.ts';

const sizes = [1_000, 100_000, 1_000_000] as const;
const bytesPerMib = 1024 ** 2;

interface Scale {
  readonly rate: number;
  readonly startSeconds: number;
  readonly rssMiB: number;
  readonly storeMiB: number;
  readonly errors: number;
  readonly lost: number;
}

async function measureAt(volumes: number, seconds: number, progress: Progress): Promise<Scale> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'fcr-bench-scale-'));
  try {
    progress(`${volumes.toLocaleString('en')} volumes and as many flow policies are written`);
    await populateStore(dataDirectory, volumes);
    progress(`${seconds} s of load with ${volumes.toLocaleString('en')} of each`);
    const run = await measureOperations(
      { FCR_STORAGE_NODE_NAME: 'bench-node' },
      { clients: 24, seconds, bulk: 100, dataDirectory },
    );
    return {
      rate: run.tally.ended / run.tally.seconds,
      startSeconds: run.startSeconds,
      rssMiB: run.peakBytes / bytesPerMib,
      storeMiB: storeBytes(dataDirectory) / bytesPerMib,
      errors: run.tally.errors,
      lost: run.tally.lost,
    };
  } finally {
    rmSync(dataDirectory, { recursive: true, force: true });
  }
}

export const bench: Bench = {
  about:
    'the rate of the operations bench, start-up, memory and store size with 1,000, 100,000 and 1,000,000 volumes present',
  options: { seconds: { about: 'how long each load lasts', default: 20 } },
  bounds: () => ({
    rateRatioMillionToThousand: { atLeast: 0.8 },
    rssMiB: { atMost: 400 },
    startSeconds: { atMost: 5 },
    errors: { atMost: 0 },
    lost: { atMost: 0 },
  }),
  async run(options, progress) {
    const scales: Scale[] = [];
    for (const size of sizes) scales.push(await measureAt(size, numberOption(options, 'seconds'), progress));
    return figuresOf(scales);
  },
};

function figuresOf(scales: readonly Scale[]): Figures {
  const [thousand, , million] = scales;
  if (thousand === undefined || million === undefined) throw new Error('a size is missing');
  const each = scales.flatMap((scale, index) => [
    [`operationsPerSecondAt${sizes[index]}`, Math.round(scale.rate)],
    [`startSecondsAt${sizes[index]}`, hundredths(scale.startSeconds)],
    [`rssMiBAt${sizes[index]}`, Math.round(scale.rssMiB)],
    [`storeMiBAt${sizes[index]}`, Math.round(scale.storeMiB)],
  ]);
  return {
    ...Object.fromEntries(each),
    rateRatioMillionToThousand: hundredths(million.rate / thousand.rate),
    rssMiB: Math.round(million.rssMiB),
    storeMiB: Math.round(million.storeMiB),
    startSeconds: hundredths(million.startSeconds),
    errors: scales.reduce((sum, { errors }) => sum + errors, 0),
    lost: scales.reduce((sum, { lost }) => sum + lost, 0),
  };
}

function hundredths(value: number): number {
  return Math.round(value * 100) / 100;
}
