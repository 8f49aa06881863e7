/**
 * `npm run bench -- <name> [--json] [--check] [options]`: runs one bench and prints its figures beside what is asked of
 * them. With `--check` the exit code is 1 when a figure misses its bound. Progress goes to stderr.
 */
import { readdirSync } from 'node:fs';
import { type Bench, parseOptions } from './support/bench.ts';
import { missed, reportAsJson, reportAsTable } from './support/figures.ts';

const usage = 'npm run bench -- <name> [--json] [--check] [options]';

function benchNames(): readonly string[] {
  return readdirSync(new URL('.', import.meta.url))
    .filter((file) => file.endsWith('.ts') && file !== 'run.ts')
    .map((file) => file.slice(0, -'.ts'.length))
    .sort();
}

async function loadBench(name: string): Promise<Bench> {
  const module: { readonly bench: Bench } = await import(`./${name}.ts`);
  return module.bench;
}

async function overview(): Promise<string> {
  const lines = [usage, ''];
  for (const name of benchNames()) {
    const { about, options } = await loadBench(name);
    lines.push(`${name}: ${about}`);
    for (const [option, { about: text, default: value, among }] of Object.entries(options)) {
      lines.push(`  --${option} ${among?.join('|') ?? `<${typeof value}>`}  ${text} (${value})`);
    }
  }
  return lines.join('\n');
}

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || !benchNames().includes(name)) {
    process.stderr.write(`${await overview()}\n`);
    return 2;
  }
  const bench = await loadBench(name);
  const options = parseOptions(
    bench,
    rest.filter((word) => word !== '--json' && word !== '--check'),
  );
  const figures = await bench.run(options, (text) => process.stderr.write(`${name}: ${text}\n`));
  const bounds = bench.bounds(options);
  const report = { bench: name, options, figures };
  process.stdout.write(`${rest.includes('--json') ? reportAsJson(report) : reportAsTable(report, bounds)}\n`);
  return rest.includes('--check') && missed(figures, bounds).length > 0 ? 1 : 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`bench: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
}
