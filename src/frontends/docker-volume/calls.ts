/** The protocol's methods, each as one call of the driver and the answer that the engine reads. */
import type { PluginRequest } from './protocol.ts';
import type { VolumeDriver } from './volume-driver.ts';

/** `isAwaited`: whether the engine still waits for the answer. */
type Answering = (driver: VolumeDriver, request: PluginRequest, isAwaited: () => boolean) => Promise<object>;

const done = { Err: '' };

export const calls = {
  'Plugin.Activate': async () => ({ Implements: ['VolumeDriver'] }),
  'VolumeDriver.Capabilities': async (driver) => ({ Capabilities: { Scope: driver.scope } }),
  'VolumeDriver.Create': async (driver, { name, options }) => {
    await driver.create(name, options);
    return done;
  },
  'VolumeDriver.Remove': async (driver, { name }) => {
    await driver.remove(name);
    return done;
  },
  'VolumeDriver.Mount': async (driver, { name, reference }, isAwaited) => ({
    Mountpoint: await driver.mount(name, reference, isAwaited),
    ...done,
  }),
  'VolumeDriver.Unmount': async (driver, { name, reference }) => {
    await driver.unmount(name, reference);
    return done;
  },
  'VolumeDriver.Path': async (driver, { name }) => ({ Mountpoint: await driver.path(name), ...done }),
  'VolumeDriver.Get': async (driver, { name }) => ({ Volume: await driver.get(name), ...done }),
  'VolumeDriver.List': async (driver) => ({ Volumes: await driver.list(), ...done }),
} as const satisfies Record<string, Answering>;

export type PluginMethod = keyof typeof calls;

const ofNoVolume: ReadonlySet<PluginMethod> = new Set([
  'Plugin.Activate',
  'VolumeDriver.Capabilities',
  'VolumeDriver.List',
]);

/** Whether a request of the method has to name a volume. */
export function isOfVolume(method: PluginMethod): boolean {
  return !ofNoVolume.has(method);
}

export function isPluginMethod(text: string): text is PluginMethod {
  return Object.hasOwn(calls, text);
}
