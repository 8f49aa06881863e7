/**
 * Reads the configuration: defaults, then the file, then the environment, then flags; the last one that states a
 * setting wins. Everything that is stated is checked, also what is then overridden, and all mistakes are told at once.
 */
import { isMap, isScalar, LineCounter, parseDocument, type YAMLMap } from 'yaml';
import { Failure } from '../domain/errors.ts';
import { type Config, configOf } from './config.ts';
import { nearest } from './nearest.ts';
import {
  environmentVariableOf,
  flagOf,
  isSettingKey,
  type Setting,
  type SettingKey,
  type SettingValues,
  type Surroundings,
  settingKeys,
  settings,
} from './settings.ts';
import { Refusal } from './values.ts';

export interface LoadOptions {
  readonly surroundings: Surroundings;
  /** By setting key, as the command line stated them. */
  readonly flags: Readonly<Record<string, string>>;
  /** `--config`: this file must be there. */
  readonly configFile?: string | undefined;
  /** The text of a file, or null when there is none; any other trouble throws. */
  readonly readFile: (path: string) => string | null;
}

export interface Loaded {
  readonly config: Config;
  readonly sources: readonly SettingSource[];
  /** Null: no file was there. */
  readonly file: string | null;
}

/** One setting as it was decided, for people; secrets are masked. */
export interface SettingSource {
  readonly key: SettingKey;
  readonly value: string;
  /** `default`, `<file>:<line>`, `environment FCR_X`, `flag --x` */
  readonly source: string;
}

interface Stated {
  readonly key: SettingKey;
  readonly value: unknown;
  readonly source: string;
}

const systemFile = '/etc/fc-redirect/fcr.yaml';
/** Variables that are no settings: the path of the file itself, and what belongs to the test run. */
const notSettings = /^FCR_(?:CONFIG$|TEST_)/;

/** Throws `invalid-configuration`, which names every mistake: key, value, source and what is accepted. */
export function loadConfig(options: LoadOptions): Loaded {
  const mistakes: string[] = [];
  const above = [...fromEnvironment(options.surroundings.environment, mistakes), ...fromFlags(options.flags, mistakes)];
  const file = findFile(options, dataDirOf(above, options.surroundings));
  const stated = [...(file === null ? [] : fromFile(file, mistakes)), ...above];
  const parsed = stated.map((item) => ({ item, value: parse(item, mistakes) }));
  if (mistakes.length > 0) throw new Failure('invalid-configuration', mistakes.join('\n'));

  const decided = new Map<SettingKey, Stated & { readonly parsed: unknown }>();
  for (const { item, value } of parsed) decided.set(item.key, { ...item, parsed: value });
  completeWithDefaults(decided, options.surroundings);
  return { config: configOf(valuesOf(decided)), sources: sourcesOf(decided), file: file?.path ?? null };
}

function fromEnvironment(environment: Surroundings['environment'], mistakes: string[]): Stated[] {
  const keys = new Map<string, SettingKey>(settingKeys.map((key) => [environmentVariableOf(key), key]));
  return Object.entries(environment).flatMap(([variable, value]) => {
    if (!variable.startsWith('FCR_') || notSettings.test(variable) || value === undefined) return [];
    const key = keys.get(variable);
    if (key !== undefined) return [{ key, value, source: `environment ${variable}` }];
    mistakes.push(`${variable}: no such setting (from the environment)${suggestion(variable, [...keys.keys()])}`);
    return [];
  });
}

function fromFlags(flags: LoadOptions['flags'], mistakes: string[]): Stated[] {
  return Object.entries(flags).flatMap(([key, value]) => {
    if (isSettingKey(key)) return [{ key, value, source: `flag ${flagOf(key)}` }];
    mistakes.push(`${key}: no such setting (from a flag)${suggestion(key, settingKeys)}`);
    return [];
  });
}

/** Where the file is looked for depends on the data directory, which the file itself can therefore not move. */
function dataDirOf(stated: readonly Stated[], surroundings: Surroundings): string {
  const last = stated.findLast((item) => item.key === 'dataDir');
  return String(last?.value ?? settings.dataDir.defaultOf(surroundings, ''));
}

interface FoundFile {
  readonly path: string;
  readonly text: string;
}

function findFile(options: LoadOptions, dataDir: string): FoundFile | null {
  const stated = options.configFile ?? options.surroundings.environment.FCR_CONFIG;
  if (stated !== undefined) {
    const text = options.readFile(stated);
    if (text === null) throw new Failure('invalid-configuration', `${stated}: this configuration file does not exist.`);
    return { path: stated, text };
  }
  for (const path of [`${dataDir}/fcr.yaml`, systemFile]) {
    const text = options.readFile(path);
    if (text !== null) return { path, text };
  }
  return null;
}

function fromFile(file: FoundFile, mistakes: string[]): Stated[] {
  const lines = new LineCounter();
  const document = parseDocument(file.text, { lineCounter: lines });
  for (const error of document.errors) mistakes.push(`${file.path}: ${error.message.split('\n')[0]}`);
  const root = document.contents;
  if (root === null || document.errors.length > 0) return [];
  if (!isMap(root)) {
    mistakes.push(`${file.path}: settings are accepted, each as "key: value"`);
    return [];
  }
  return fromMap(root, '', { path: file.path, lines, mistakes });
}

interface FileReading {
  readonly path: string;
  readonly lines: LineCounter;
  readonly mistakes: string[];
}

function fromMap(map: YAMLMap, prefix: string, reading: FileReading): Stated[] {
  return map.items.flatMap((pair) => {
    const key = prefix + String(isScalar(pair.key) ? pair.key.value : pair.key);
    const line = isScalar(pair.key) ? reading.lines.linePos(pair.key.range?.[0] ?? 0).line : 0;
    const source = `${reading.path}:${line}`;
    const value = pair.value;
    if (isSettingKey(key) && !isMap(value)) return stated(key, isScalar(value) ? value.value : value, source);
    if (isMap(value) && settingKeys.some((known) => known.startsWith(`${key}.`))) {
      return fromMap(value, `${key}.`, reading);
    }
    reading.mistakes.push(`${key}: no such setting (from ${source})${suggestion(key, settingKeys)}`);
    return [];
  });
}

/** `key:` with nothing behind it states nothing. */
function stated(key: SettingKey, value: unknown, source: string): Stated[] {
  return value === null ? [] : [{ key, value, source }];
}

function parse({ key, value, source }: Stated, mistakes: string[]): unknown {
  const definition: Setting<unknown> = settings[key];
  const parsed = definition.parse(value);
  if (!(parsed instanceof Refusal)) return parsed;
  const shown = definition.secret ? 'its value' : JSON.stringify(value);
  mistakes.push(`${key}: ${shown} is refused (from ${source}); accepted: ${parsed.accepted}`);
  return null;
}

function completeWithDefaults(
  decided: Map<SettingKey, Stated & { parsed: unknown }>,
  surroundings: Surroundings,
): void {
  for (const key of settingKeys) {
    if (decided.has(key)) continue;
    const definition: Setting<unknown> = settings[key];
    const value = definition.defaultOf(surroundings, String(decided.get('dataDir')?.parsed ?? ''));
    const parsed = value === null ? null : parse({ key, value, source: 'default' }, []);
    decided.set(key, { key, value, source: 'default', parsed });
  }
}

function valuesOf(decided: ReadonlyMap<SettingKey, { readonly parsed: unknown }>): SettingValues {
  // Each value was parsed by its own key's parser (or is that key's null): the table's types are these.
  return Object.fromEntries([...decided].map(([key, { parsed }]) => [key, parsed])) as SettingValues;
}

function sourcesOf(decided: ReadonlyMap<SettingKey, Stated>): SettingSource[] {
  return settingKeys.flatMap((key) => {
    const item = decided.get(key);
    return item === undefined ? [] : [{ key, value: shownValue(key, item.value), source: item.source }];
  });
}

function shownValue(key: SettingKey, value: unknown): string {
  if (value === null) return '';
  if (!settings[key].secret) return String(value);
  const parsed = URL.canParse(String(value)) ? new URL(String(value)) : null;
  if (parsed === null) return '********';
  if (parsed.password !== '') parsed.password = '********';
  for (const name of parsed.searchParams.keys()) {
    if (/password|token|secret/i.test(name)) parsed.searchParams.set(name, '********');
  }
  return parsed.href;
}

function suggestion(word: string, known: readonly string[]): string {
  const candidate = nearest(word, known);
  return candidate === null ? '' : `; did you mean ${candidate}?`;
}
