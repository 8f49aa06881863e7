import { join } from 'node:path';
import type { Config } from '../../config/config.ts';
import { Failure } from '../../domain/errors.ts';
import type { Host } from '../../host/host.ts';
import { LinuxHost } from '../../host/linux/linux-host.ts';
import { linkedFabric } from '../../host/simulator/simulated-fabric.ts';
import { SimulatedHost } from '../../host/simulator/simulated-host.ts';
import type { Log } from '../../telemetry/log.ts';

/** This machine as a host: real where loop devices and mounts can be had, else simulated, with the reasons kept. */
export async function openHost(config: Config, log: Pick<Log, 'warn'>): Promise<Host> {
  const directory = join(config.dataDir, 'host', 'simulated');
  const { exportsDirectory, volumesDirectory } = config.host;
  const fabric = config.storageNode.kind === 'file' ? { fabric: linkedFabric(exportsDirectory) } : {};
  const simulated = (reasons: readonly string[]) => SimulatedHost.open({ directory, reasons, ...fabric });
  if (config.host.mode === 'simulated') return simulated(['host.mode is simulated']);
  if (config.storageNode.kind === 'simulated') return simulated(['the storage node is simulated']);
  const host = await LinuxHost.open({
    exportsDirectory,
    volumesDirectory,
    stateDirectory: join(config.dataDir, 'host'),
    log,
  });
  const { loop, mount, reasons } = host.capabilities;
  if (loop && mount) return host;
  await host.close();
  const why = `${reasons.join(', ')}; real devices need root, and in a container --privileged`;
  if (config.host.mode === 'linux') throw new Failure('not-supported', `host.mode is linux, but there are ${why}.`);
  return simulated([why]);
}
