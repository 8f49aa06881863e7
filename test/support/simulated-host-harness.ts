import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { DeviceTarget, Host } from '../../src/host/host.ts';
import { linkedFabric } from '../../src/host/simulator/simulated-fabric.ts';
import { SimulatedHost } from '../../src/host/simulator/simulated-host.ts';
import { ExportedMedia, type HostHarness, targetOf } from './host-harness.ts';

export class SimulatedHostHarness implements HostHarness {
  readonly directory: string;
  readonly media: ExportedMedia;
  host: SimulatedHost;
  #targets = 0;

  private constructor(directory: string, media: ExportedMedia, host: SimulatedHost) {
    this.directory = directory;
    this.media = media;
    this.host = host;
  }

  static async make(t: ExecutionContext): Promise<SimulatedHostHarness> {
    const directory = mkdtempSync(join(tmpdir(), 'fcr-host-'));
    const media = new ExportedMedia(directory);
    const harness = new SimulatedHostHarness(directory, media, await openIn(directory, media));
    t.teardown(async () => {
      await harness.host.close();
      rmSync(directory, { recursive: true });
    });
    return harness;
  }

  makeTarget(overrides: Partial<DeviceTarget> = {}): DeviceTarget {
    this.#targets += 1;
    const target = targetOf(this.#targets, overrides);
    this.media.export(target);
    return target;
  }

  nextOwner(target: DeviceTarget): DeviceTarget {
    const { mediaGeneration, epoch, attachmentId } = target;
    const next = {
      ...target,
      mediaGeneration: mediaGeneration + 1,
      epoch: epoch + 1,
      attachmentId: `${attachmentId}n`,
    };
    this.media.export(next);
    return next;
  }

  redirectPaths(target: DeviceTarget, other: DeviceTarget): void {
    this.media.export(target, this.media.fileOf(other));
  }

  unexport(target: DeviceTarget): void {
    this.media.unexport(target);
  }

  mountPath(name: string): string {
    return join(this.directory, 'mounts', name);
  }

  async restart(): Promise<Host> {
    await this.host.close();
    this.host = await openIn(this.directory, this.media);
    return this.host;
  }

  async holdElsewhere(target: DeviceTarget): Promise<() => Promise<void>> {
    const path = '/in/a/container';
    await this.host.holdForeign(target, path);
    return () => this.host.releaseForeign(path);
  }
}

function openIn(directory: string, media: ExportedMedia): Promise<SimulatedHost> {
  return SimulatedHost.open({
    directory: join(directory, 'state'),
    fabric: linkedFabric(media.exportsDirectory),
    reasons: ['a test'],
  });
}
