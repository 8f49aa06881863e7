/**
 * The parts of the documentation that the code knows better: the error catalogue, the settings, the state diagrams, the
 * lists of dependencies. `npm run docs` writes them into their marked places; a test proves that they are what it would write.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/load.ts';
import { environmentVariableOf, flagOf, type SettingKey, settings } from '../../src/config/settings.ts';
import { attachmentTransitions } from '../../src/domain/attachment.ts';
import { errorCatalogue } from '../../src/domain/errors.ts';
import { flowPolicyTransitions } from '../../src/domain/flow-policy.ts';
import { batchTransitions, operationTransitions } from '../../src/domain/operation.ts';
import { diagram } from '../../src/domain/state-machine.ts';
import { volumeTransitions } from '../../src/domain/volume.ts';
import { globalSettings, programSettings } from '../../src/frontends/cli/service.ts';
import { codeUnder, importsOf, projectRoot, readText } from './source-tree.ts';

export interface GeneratedPart {
  readonly document: string;
  /** The text between `<!-- generated: <name> -->` and `<!-- end: <name> -->`. */
  readonly name: string;
  readonly text: string;
}

export function generatedParts(): GeneratedPart[] {
  const errors = { document: 'docs/ERRORS.md', name: 'error-catalogue', text: errorTable() };
  const diagrams = stateDiagrams().map(([name, text]) => ({ document: 'docs/ARCHITECTURE.md', name, text }));
  const configuration = { document: 'docs/CONFIGURATION.md', name: 'settings', text: settingTable() };
  return [errors, configuration, ...diagrams];
}

/** The document with that part replaced. A document without the part's markers is an error. */
export function withPart(document: string, part: GeneratedPart): string {
  const [open, close] = [`<!-- generated: ${part.name} -->`, `<!-- end: ${part.name} -->`];
  const [from, to] = [document.indexOf(open), document.indexOf(close)];
  if (from < 0 || to < from) throw new Error(`${part.document} has no place for the generated part ${part.name}`);
  return `${document.slice(0, from)}${open}\n\n${part.text}\n\n${document.slice(to)}`;
}

function errorTable(): string {
  const rows = Object.entries(errorCatalogue).map(
    ([code, { kind, retryable, title }]) => `| \`${code}\` | ${kind} | ${retryable ? 'yes' : 'no'} | ${title} |`,
  );
  return ['| code | kind | retryable | meaning |', '|---|---|---|---|', ...rows].join('\n');
}

/** Defaults are those of root on a host called `node1`. */
function settingTable(): string {
  const surroundings = { isRoot: true, home: '/root', hostName: 'node1', environment: {} };
  const { sources } = loadConfig({ surroundings, flags: {}, readFile: () => null });
  const rows = sources.map(({ key, value }) => {
    const words = [key, flagOf(key), environmentVariableOf(key)].map((word) => `\`${word}\``).join(' | ');
    const shown = value === '' ? '' : `\`${value}\``;
    return `| ${words} | ${shown} | ${settings[key].about} | ${readersOf(key)} |`;
  });
  const head = ['| key | flag | environment | default | what it says | read by |', '|---|---|---|---|---|---|'];
  return [...head, ...rows].join('\n');
}

/** A standalone is a controller and an agent. */
function readersOf(key: SettingKey): string {
  const programs = (['controller', 'agent'] as const).filter((program) => programSettings[program].includes(key));
  return [...programs, ...(globalSettings.includes(key) ? ['every verb'] : [])].join(', ');
}

function stateDiagrams(): [string, string][] {
  const machines: [string, string][] = [
    ['volume-states', diagram(volumeTransitions)],
    ['attachment-states', diagram(attachmentTransitions)],
    ['batch-states', diagram(batchTransitions)],
    ['operation-states', diagram(operationTransitions)],
    ['flow-policy-states', diagram(flowPolicyTransitions)],
  ];
  return machines.map(([name, text]) => [name, `\`\`\`mermaid\n${text}\n\`\`\``]);
}

export interface Dependency {
  readonly name: string;
  readonly version: string;
  /** Path prefixes under which it may be imported; empty for a tool that nothing imports. */
  readonly importers: readonly string[];
  readonly reason: string;
}

/** Rows of docs/DEPENDENCIES.md: `| name | version | importers | reason |`. */
export function documentedDependencies(): Dependency[] {
  const rows = readText('docs/DEPENDENCIES.md').matchAll(/^\| `([^`]+)` \| `([^`]+)` \| ([^|]*)\| ([^|]*) \|$/gm);
  return [...rows].map(([, name = '', version = '', importers = '', reason = '']) => ({
    name,
    version,
    importers: [...importers.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ''),
    reason: reason.trim(),
  }));
}

/** Every dependency of package.json, of all kinds. */
export function declaredDependencies(): { readonly name: string; readonly version: string }[] {
  const manifest: Record<string, Record<string, string> | undefined> = JSON.parse(readText('package.json'));
  const kinds = ['dependencies', 'devDependencies', 'optionalDependencies'];
  const pairs = kinds.flatMap((kind) => Object.entries(manifest[kind] ?? {}));
  return pairs.map(([name, version]) => ({ name, version })).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What the sources import from packages at run time, Node's own modules apart: a type ties nobody to a package. */
export function packageImports(): { readonly file: string; readonly line: number; readonly target: string }[] {
  const imports = codeUnder('src', 'native-bindings', 'migrations', 'test', 'bench').flatMap(importsOf);
  return imports.filter((item) => item.package && !item.typeOnly && !item.target.startsWith('node:'));
}

function writeAll(): void {
  for (const part of generatedParts()) {
    const path = join(projectRoot, part.document);
    writeFileSync(path, withPart(readFileSync(path, 'utf8'), part));
  }
}

if (process.argv.includes('--write')) writeAll();
