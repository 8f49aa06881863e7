/** The product's own composition with one bug planted into it, as a program: `program.ts <name of the bug>`. */
import { type StandaloneParts, standaloneParts, startStandalone } from '../../../src/bin/compose/standalone.ts';
import { readConfig } from '../../../src/config/read.ts';
import { createLog } from '../../../src/telemetry/log.ts';
import { type PlantedBug, plantedBugNames, plantedBugs } from './bugs.ts';

const exitFatal = 70;

function partsWith(name: string | undefined): StandaloneParts {
  const known = plantedBugNames.find((each) => each === name);
  if (known === undefined) throw new Error(`there is no planted bug ${name}`);
  const bug: PlantedBug = plantedBugs[known];
  return bug.plant(standaloneParts);
}

const { config } = readConfig();
const log = createLog(config.log, { program: 'planted', isTerminal: false });
await startStandalone(config, log, () => process.exit(exitFatal), partsWith(process.argv[2]));
