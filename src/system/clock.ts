/** Time as a parameter. `now` is wall time in ms since the epoch, `monotonic` is for durations, in ms. */
export interface Clock {
  now(): number;
  monotonic(): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};
