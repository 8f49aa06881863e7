#!/usr/bin/env node
/** The program: the real world handed to the command line, and its answer handed to the shell. */
import { readFileSync } from 'node:fs';
import { readConfig } from '../config/read.ts';
import { Progress } from '../frontends/cli/progress.ts';
import { runCli } from '../frontends/cli/run.ts';
import type { CliWorld } from '../frontends/cli/world.ts';

const world: CliWorld = {
  out: { write: (text) => process.stdout.write(text) },
  err: { write: (text) => process.stderr.write(text) },
  directory: process.cwd(),
  version: versionOf(['../../package.json', '../../../package.json']),
  readConfig,
  readFile: (path) => readFileSync(path, 'utf8'),
  readInput: () => readFileSync(0, 'utf8'),
  progress: (label, total) => new Progress(label, total, process.stderr),
  interrupted,
  services: {
    standalone: async (config) => (await import('./standalone.ts')).runStandalone(config),
    agent: async (config) => (await import('./agent.ts')).runAgent(config),
    controller: async (config, parts) => (await import('./controller.ts')).runController(config, parts),
    adopt: async (config) => (await import('./adopt.ts')).runAdopt(config),
  },
};

// A reader that has seen enough (`fcr volume list | head`) is no failure.
process.stdout.on('error', (error) => process.exit('code' in error && error.code === 'EPIPE' ? 0 : 1));
process.exitCode = await runCli(process.argv.slice(2), world);

/** Beside the sources, or one level further from the JavaScript made of them. */
function versionOf(candidates: readonly string[]): string {
  for (const candidate of candidates) {
    const manifest = manifestAt(new URL(candidate, import.meta.url));
    if (manifest !== null) return manifest.version;
  }
  return 'unknown';
}

function manifestAt(url: URL): { readonly version: string } | null {
  try {
    return JSON.parse(readFileSync(url, 'utf8'));
  } catch {
    return null;
  }
}

function interrupted(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort());
  return controller.signal;
}
