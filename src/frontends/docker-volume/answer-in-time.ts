/**
 * An answer before the engine gives its call up and tells its user of a timeout, and of nothing else. What was asked for
 * goes on.
 */
import { limits } from '../../config/limits.ts';
import { Failure } from '../../domain/errors.ts';
import type { PluginMethod } from './calls.ts';

export type AnswerMs = (method: PluginMethod) => number;

const longCalls: ReadonlySet<PluginMethod> = new Set(['VolumeDriver.Create', 'VolumeDriver.Mount']);

/** Less than dockerd waits. */
export const dockerdsPatience: AnswerMs = (method) =>
  longCalls.has(method) ? limits.dockerLongAnswerMs : limits.dockerAnswerMs;

/** What `work` answers, or, when that takes too long, the failure that `late` makes; `work` is nobody's then. */
export async function inTime<T>(work: Promise<T>, waitMs: number, late: () => Failure): Promise<T> {
  const { promise: bound, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(late()), waitMs);
  try {
    return await Promise.race([work, bound]);
  } finally {
    clearTimeout(timer);
  }
}

const goesOn = 'This goes on by itself, and the same command again waits for its end';

/** Of a call that is not done yet: what is going on, and what becomes of it. */
const doings: Partial<Readonly<Record<PluginMethod, readonly [doing: string, outcome: string]>>> = {
  'VolumeDriver.Unmount': [
    'is still being unmounted, because much is to be written to it or the controller is slow',
    goesOn,
  ],
  'VolumeDriver.Remove': ['is still being removed, because its mount or the controller is slow to let it go', goesOn],
  'VolumeDriver.Create': ['is still being made', goesOn],
  'VolumeDriver.Mount': [
    'is still being mounted',
    'It is given back when that is done, unless it is asked for again before',
  ],
};

const look = 'fcr mounts and fcr agent status show how it stands';

export function stillGoingOn(method: PluginMethod, volume: string, waitMs: number): Failure {
  const [doing, outcome] = doings[method] ?? [
    'could not be looked up, because the controller did not answer',
    'Try again',
  ];
  const what = volume === '' ? 'What was asked for' : `Volume "${volume}"`;
  return new Failure('deadline-exceeded', `${what} ${doing}, after ${waitMs / 1_000} s. ${outcome} (${look}).`);
}
