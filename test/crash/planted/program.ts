/**
 * The product's own composition as a test's program: `program.ts [name of a planted bug]`.
 *
 * CRASH_BOOT_ID, which only this program knows, is the boot id that the host is told instead of the kernel's: a machine
 * that was started again, without starting this one again.
 */
import { type StandaloneParts, standaloneParts, startStandalone } from '../../../src/bin/compose/standalone.ts';
import { readConfig } from '../../../src/config/read.ts';
import { createLog } from '../../../src/telemetry/log.ts';
import { type PlantedBug, plantedBugNames, plantedBugs } from './bugs.ts';
import { standingIn } from './standing-in.ts';

const exitFatal = 70;

function partsWith(name: string | undefined): StandaloneParts {
  if (name === undefined) return standaloneParts;
  const known = plantedBugNames.find((each) => each === name);
  if (known === undefined) throw new Error(`there is no planted bug ${name}`);
  const bug: PlantedBug = plantedBugs[known];
  return bug.plant(standaloneParts);
}

function bootedAs(bootId: string | undefined, parts: StandaloneParts): StandaloneParts {
  if (bootId === undefined) return parts;
  return {
    ...parts,
    openHost: async (config, log) => {
      const host = await parts.openHost(config, log);
      return standingIn(host, {
        identity: async () => ({ ...(await host.identity()), bootId }),
        inventory: async () => ({ ...(await host.inventory()), bootId }),
      });
    },
  };
}

const { config } = readConfig();
const log = createLog(config.log, { program: 'crash-test', isTerminal: false });
const parts = bootedAs(process.env.CRASH_BOOT_ID, partsWith(process.argv[2]));
const running = await startStandalone(config, log, () => process.exit(exitFatal), parts);
process.once('SIGTERM', () => void running.close().then(() => process.exit(0)));
