/** The simulator is only worth what it shares with the real node: random histories end the same on both. */
import test from 'ava';
import fc from 'fast-check';
import { SimulatedStorageNode } from '../../src/storage-node/simulator/simulated-storage-node.ts';
import type { StorageNode } from '../../src/storage-node/storage-node.ts';
import { openLocalNode, scratchDirectory } from '../support/local-storage-node.ts';
import { codes, exportsOf, initiatorWwpn, mediaOf, sizeBytes } from './storage-node-suite.ts';

interface Step {
  readonly kind: 'provision' | 'wipe' | 'destroy' | 'export' | 'unexport';
  readonly volume: number;
  readonly attachment: number;
  /** Added to the highest generation so far; below zero comes too late. */
  readonly lead: number;
  readonly lun: number;
}

const steps = fc.array(
  fc.record<Step>({
    kind: fc.constantFrom('provision', 'provision', 'wipe', 'destroy', 'export', 'export', 'unexport'),
    volume: fc.integer({ min: 0, max: 2 }),
    attachment: fc.integer({ min: 0, max: 1 }),
    lead: fc.constantFrom(-1, 0, 1, 1, 1),
    lun: fc.integer({ min: 0, max: 2 }),
  }),
  { minLength: 5, maxLength: 30 },
);

/** Plays the steps on one node; what it is asked depends on the steps alone. */
class Player {
  readonly #node: StorageNode;
  readonly #highest = new Map<string, number>();
  readonly #medium = new Map<string, number>();

  constructor(node: StorageNode) {
    this.#node = node;
  }

  async play(step: Step): Promise<string[]> {
    const volumeId = `v${step.volume}`;
    const generation = Math.max(1, (this.#highest.get(volumeId) ?? 0) + step.lead);
    this.#highest.set(volumeId, Math.max(generation, this.#highest.get(volumeId) ?? 0));
    return codes(await this.#call(step, volumeId, generation));
  }

  #call(step: Step, volumeId: string, generation: number) {
    const item = { volumeId, generation, backend: 'file' };
    const medium = { sizeBytes, filesystem: null };
    const old = this.#medium.get(volumeId) ?? generation;
    if (step.kind === 'provision' || step.kind === 'wipe') this.#medium.set(volumeId, Math.max(old, generation));
    const paths = [{ initiatorWwpn, targetWwpn: '20:00:02:00:00:00:00:b0', lun: step.lun }];
    const shown = { volumeId, generation, attachmentId: `${volumeId}-${step.attachment}`, paths };
    switch (step.kind) {
      case 'provision':
        return this.#node.provision([{ ...item, ...medium, mediaGeneration: generation }]);
      case 'wipe':
        return this.#node.wipe([{ ...item, ...medium, oldMediaGeneration: old, newMediaGeneration: generation }]);
      case 'destroy':
        return this.#node.destroy([item]);
      case 'unexport':
        return this.#node.unexport([shown]);
      case 'export':
        return this.#node.export([
          { ...shown, mediaGeneration: old, epoch: 1, readOnly: false, serial: 's', wwid: 'w' },
        ]);
    }
  }
}

test('random histories are answered alike and leave alike, on files and in the simulator', async (t) => {
  const history = fc.asyncProperty(steps, async (story) => {
    const real = await openLocalNode(await scratchDirectory(t));
    const simulated = new SimulatedStorageNode();
    const [realPlayer, simulatedPlayer] = [new Player(real), new Player(simulated)];
    try {
      for (const step of story) t.deepEqual(await realPlayer.play(step), await simulatedPlayer.play(step));
      t.deepEqual(await mediaOf(real), await mediaOf(simulated));
      t.deepEqual(await exportsOf(real), await exportsOf(simulated));
    } finally {
      await real.close();
    }
  });
  await fc.assert(history, { numRuns: 12 });
});
