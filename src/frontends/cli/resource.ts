/** The verbs that every resource has, made once: `list`, `get`, `delete`, each with its examples. */
import type { Command } from 'commander';
import { limits } from '../../config/limits.ts';
import { type ErrorCode, Failure } from '../../domain/errors.ts';
import type { ControllerClient } from '../../http/client.ts';
import type { Page } from '../../store/store.ts';
import { wholeNumber } from './arguments.ts';
import type { CliContext, View } from './context.ts';

export function withExamples(command: Command, ...examples: readonly string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${examples.map((example) => `  $ fcr ${example}`).join('\n')}`);
}

/** A group of verbs: `fcr pool ...`. Without a verb it shows its help. */
export function addGroup(parent: Command, name: string, about: string, ...examples: readonly string[]): Command {
  return withExamples(parent.command(name).description(about), ...examples);
}

type PageRequest = { readonly pageSize: number; readonly pageToken?: string };
type ListOptions = Readonly<Record<string, string | undefined>>;

export interface Listing<T> {
  readonly context: CliContext;
  readonly view: View<T>;
  /** What is listed, in the plural. */
  readonly about: string;
  /** Options that narrow the list: flag syntax -> what it does. */
  readonly filters?: Readonly<Record<string, string>>;
  readonly page: (client: ControllerClient, options: ListOptions, page: PageRequest) => Promise<Page<T>>;
  readonly examples: readonly string[];
}

export function addList<T>(group: Command, listing: Listing<T>): void {
  const command = group.command('list').alias('ls').description(`list ${listing.about}`);
  for (const [flags, about] of Object.entries(listing.filters ?? {})) command.option(flags, about);
  command.option('--limit <count>', 'at most so many', wholeNumber, limits.pageSizeMax);
  command.action(async () => {
    const { limit, ...options } = command.opts();
    const items = await collect(listing, options, limit);
    listing.context.showMany(listing.view, items);
  });
  withExamples(command, ...listing.examples);
}

async function collect<T>(listing: Listing<T>, options: ListOptions, limit: number): Promise<readonly T[]> {
  const items: T[] = [];
  let next: string | null = null;
  do {
    const pageSize = Math.min(limit - items.length, limits.pageSizeMax);
    const request: PageRequest = next === null ? { pageSize } : { pageSize, pageToken: next };
    const page: Page<T> = await listing.page(listing.context.controller, options, request);
    items.push(...page.items);
    next = page.nextPageToken;
  } while (next !== null && items.length < limit);
  if (next !== null) listing.context.warn(`there are more than these ${items.length}; --limit shows more`);
  return items;
}

export interface Getting<T> {
  readonly context: CliContext;
  readonly view: View<T>;
  readonly about: string;
  /** e.g. `<name>` */
  readonly argument: string;
  readonly get: (client: ControllerClient, name: string) => Promise<T | null>;
  readonly missing: ErrorCode;
  readonly examples: readonly string[];
}

export function addGet<T>(group: Command, getting: Getting<T>): void {
  const command = group.command('get').alias('show').description(`show ${getting.about}`).argument(getting.argument);
  command.action(async (name: string) => {
    getting.context.showOne(getting.view, await present(getting, name));
  });
  withExamples(command, ...getting.examples);
}

/** What is there, or the failure that says that it is not. */
export async function present<T>(getting: Pick<Getting<T>, 'context' | 'get' | 'missing'>, name: string): Promise<T> {
  const item = await getting.get(getting.context.controller, name);
  if (item === null)
    throw new Failure(getting.missing, `There is no ${nounOf(getting.missing)} ${JSON.stringify(name)}.`);
  return item;
}

function nounOf(code: ErrorCode): string {
  return code.replace(/-not-found$/, '').replaceAll('-', ' ');
}

export interface Deleting {
  readonly context: CliContext;
  readonly about: string;
  readonly argument: string;
  readonly remove: (client: ControllerClient, name: string, command: Command) => Promise<unknown>;
  readonly examples: readonly string[];
}

/** Takes several names; stops at the first that fails. Answers the command, for further options. */
export function addDelete(group: Command, deleting: Deleting): Command {
  const command = group.command('delete').alias('rm').description(`delete ${deleting.about}`);
  command.argument(deleting.argument.replace('>', '...>'));
  command.action(async (names: readonly string[]) => {
    for (const name of names) {
      await deleting.remove(deleting.context.controller, name, command);
      deleting.context.say(`${name} deleted`);
    }
  });
  return withExamples(command, ...deleting.examples);
}
