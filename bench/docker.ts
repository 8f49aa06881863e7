import { image } from '../test/support/docker-engine.ts';
import { type Bench, numberOption, type OptionValues, type Progress } from './support/bench.ts';
import { DockerHost } from './support/docker-host.ts';
import type { Figures } from './support/figures.ts';
import { Latencies } from './support/latencies.ts';

const warmUps = 3;
/** Before the service is warm. */
const coldContainers = 10;
const callers = 8;

/** One driver of the engine, and how long things took with it. */
interface Side {
  readonly driver: string;
  readonly starts: Latencies;
  readonly creates: Latencies;
}

interface Thousand {
  readonly createSeconds: number;
  readonly removeSeconds: number;
  readonly wipeSeconds: number;
}

export const bench: Bench = {
  about:
    'containers on new volumes under a real dockerd, in turn with its own local driver, and many volumes over its API (root)',
  options: {
    containers: { about: 'containers of each driver, one after the other', default: 50 },
    'warm-up': {
      about: 'volumes mounted before those counted, so that the service is one that has run for a while',
      default: 300,
    },
    volumes: { about: `volumes that are created and removed, ${callers} at a time`, default: 1_000 },
    size: { about: 'size of a volume in MiB', default: 32 },
  },
  bounds: () => ({
    overheadRatio: { atMost: 1.15 },
    volumeCreateP50Ms: { atMost: 20 },
    createThousandSeconds: { atMost: 10 },
  }),
  async run(options, progress) {
    await using end = new AsyncDisposableStack();
    const teardown = (run: () => void | Promise<void>) => end.defer(run);
    const interrupted = new Promise<never>((_, reject) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => reject(new Error(signal)));
    });
    return await Promise.race([figures({ teardown }, options, progress), interrupted]);
  },
};

async function figures(
  t: Parameters<typeof DockerHost.start>[0],
  options: OptionValues,
  progress: Progress,
): Promise<Figures> {
  const [containers, volumes] = [numberOption(options, 'containers'), numberOption(options, 'volumes')];
  progress(`a pool of ${volumes} volumes is filled`);
  const host = await DockerHost.start(t, { sizeMiB: numberOption(options, 'size'), volumes, connections: callers });
  await host.atRest();
  progress(`${coldContainers} containers of each driver just after the start`);
  const cold = await runContainers(host, coldContainers);
  await host.warmUp(numberOption(options, 'warm-up'));
  await host.atRest();
  progress(`${containers} containers of each driver`);
  const { ours, local } = await runContainers(host, containers);
  await host.atRest();
  progress(`${containers} containers with each call of the plugin timed`);
  await runTimed(host, containers);
  await host.atRest();
  progress(`${volumes} volumes of each driver`);
  const thousand = await createAndRemove(host, host.driver, volumes);
  const localThousand = await createAndRemove(host, 'local', volumes);
  return {
    ...startFigures(host, ours, local),
    coldOverheadRatio: cold.ours.starts.p50Ms / cold.local.starts.p50Ms,
    createThousandSeconds: thousand.createSeconds,
    removeThousandSeconds: thousand.removeSeconds,
    wipeThousandSeconds: thousand.wipeSeconds,
    localCreateThousandSeconds: localThousand.createSeconds,
    localRemoveThousandSeconds: localThousand.removeSeconds,
  };
}

function startFigures({ timed }: DockerHost, ours: Side, local: Side): Figures {
  return {
    startsPerSecond: 1_000 / ours.starts.meanMs,
    localStartsPerSecond: 1_000 / local.starts.meanMs,
    startP50Ms: ours.starts.p50Ms,
    localStartP50Ms: local.starts.p50Ms,
    overheadRatio: ours.starts.p50Ms / local.starts.p50Ms,
    volumeCreateP50Ms: ours.creates.p50Ms,
    localVolumeCreateP50Ms: local.creates.p50Ms,
    pluginMountP50Ms: timed.durationsOf('VolumeDriver.Mount').p50Ms,
    pluginUnmountP50Ms: timed.durationsOf('VolumeDriver.Unmount').p50Ms,
  };
}

/** Whoever goes first in one round goes last in the next. */
async function runContainers(host: DockerHost, count: number): Promise<{ readonly ours: Side; readonly local: Side }> {
  const [ours, local] = [sideOf(host.driver), sideOf('local')];
  const warmUp = [sideOf(host.driver), sideOf('local')];
  for (let number = -warmUps; number < count; number += 1) {
    const sides = number < 0 ? warmUp : [ours, local];
    for (const side of number % 2 === 0 ? sides : sides.toReversed()) await round(host, side, number + warmUps);
  }
  return { ours, local };
}

/** Apart from the others: a container that is started through the clock pays for the hop. */
async function runTimed(host: DockerHost, count: number): Promise<void> {
  const side = sideOf(host.timedDriver);
  for (let number = -warmUps; number < count; number += 1) {
    if (number === 0) host.timed.forget();
    await round(host, side, number + warmUps);
  }
}

function sideOf(driver: string): Side {
  return { driver, starts: new Latencies(), creates: new Latencies() };
}

/** `docker run` makes the volume and the container, and returns once the container has ended and is gone. */
async function round({ engine, api }: DockerHost, side: Side, number: number): Promise<void> {
  const { driver, starts, creates } = side;
  const name = `${driver}-run-${number}`;
  const words = ['run', '--rm', '--volume-driver', driver, '-v', `${name}:/data`, image, 'true'];
  await starts.time(() => engine.docker(...words));
  await api.expect('DELETE', `/volumes/${name}`);
  await creates.time(() => api.expect('POST', '/volumes/create', { Name: name, Driver: driver }));
  await api.expect('DELETE', `/volumes/${name}`);
}

/** Seconds are those of a thousand, however many were made. Wiping begins with the first removal. */
async function createAndRemove(host: DockerHost, Driver: string, count: number): Promise<Thousand> {
  const names = Array.from({ length: count }, (_, number) => `${Driver}-${number}`);
  const began = performance.now();
  await together(names, (Name) => host.api.expect('POST', '/volumes/create', { Name, Driver }));
  const created = performance.now();
  await together(names, (name) => host.api.expect('DELETE', `/volumes/${name}`));
  const removed = performance.now();
  await host.atRest();
  const seconds = (from: number, to: number) => (to - from) / count;
  return {
    createSeconds: seconds(began, created),
    removeSeconds: seconds(created, removed),
    wipeSeconds: seconds(created, performance.now()),
  };
}

async function together(names: readonly string[], call: (name: string) => Promise<unknown>): Promise<void> {
  const left = names.values();
  const caller = async () => {
    for (const name of left) await call(name);
  };
  await Promise.all(Array.from({ length: callers }, caller));
}
