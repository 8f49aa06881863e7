/**
 * One run of the command line: its global options, the connection that follows from them, and how answers are shown.
 *
 * Connection: `--server` (or FCR_SERVER) with a token (`--token`, `--token-file`, their variables, else the admin token
 * file of the data directory, where it can be read); without a server the controller's socket on this machine, which
 * trusts its file mode.
 */
import type { Command } from 'commander';
import type { Config } from '../../config/config.ts';
import { limits } from '../../config/limits.ts';
import type { Loaded } from '../../config/load.ts';
import { flagOf, type SettingKey, settingKeys } from '../../config/settings.ts';
import { isLoopback } from '../../config/values.ts';
import type { Problem } from '../../domain/errors.ts';
import { ControllerClient } from '../../http/client.ts';
import { endpointOf, tokenOf } from '../../http/client-endpoint.ts';
import { AgentClient } from './agent-client.ts';
import { type Column, detailsOf, jsonOf, tableOf } from './output.ts';
import { withRemedy } from './remedies.ts';
import type { CliWorld } from './world.ts';

export interface View<T> {
  /** For the list. */
  readonly columns: readonly Column<T>[];
  /** For one of them; the same as for the list when absent. */
  readonly details?: readonly Column<T>[];
  /** What the next command would call it by; all that `--quiet` shows. */
  readonly name: (item: T) => string;
}

const whenSilent =
  'Is its process stopped or hung, its machine overloaded, the network cut? Its log may tell; --request-timeout waits longer.';

export class CliContext {
  readonly world: CliWorld;
  readonly #program: Command;
  #controller: ControllerClient | null = null;
  #agent: AgentClient | null = null;

  constructor(world: CliWorld, program: Command) {
    this.world = world;
    this.#program = program;
  }

  /** The flags of the program and of the command, as settings. */
  configuration(command: Command = this.#program): Loaded {
    const options = { ...this.#program.opts(), ...command.opts() };
    const stated = settingKeys.flatMap((key) => {
      const value: unknown = options[attributeOf(key)];
      return typeof value === 'string' ? [[key, value] as const] : [];
    });
    return this.world.readConfig({ flags: Object.fromEntries(stated), configFile: this.#text('config') });
  }

  get controller(): ControllerClient {
    this.#controller ??= this.#connect(this.configuration().config);
    return this.#controller;
  }

  get agent(): AgentClient {
    this.#agent ??= this.#agentOf(this.configuration().config);
    return this.#agent;
  }

  showOne<T>(view: View<T>, item: T): void {
    this.#show(item, [item], view, () => detailsOf(view.details ?? view.columns, item));
  }

  showMany<T>(view: View<T>, items: readonly T[]): void {
    this.#show(items, items, view, () => tableOf(view.columns, items));
  }

  /** What was done, for people; programs have the exit code. */
  say(sentence: string): void {
    if (!this.isQuiet && !this.isJson) this.world.out.write(`${sentence}\n`);
  }

  warn(sentence: string): void {
    this.world.err.write(`fcr: ${sentence}\n`);
  }

  fail(problem: Problem): void {
    this.world.err.write(this.isJson ? jsonOf(problem) : `fcr: ${withRemedy(problem)} (${problem.code})\n`);
  }

  get isJson(): boolean {
    return this.#program.opts().json === true;
  }

  get isQuiet(): boolean {
    return this.#program.opts().quiet === true;
  }

  close(): void {
    this.#controller?.close();
    this.#agent?.close();
  }

  #show<T>(answer: unknown, items: readonly T[], view: View<T>, text: () => string): void {
    if (this.isJson) this.world.out.write(jsonOf(answer));
    else if (this.isQuiet) this.world.out.write(items.map((item) => `${view.name(item)}\n`).join(''));
    else this.world.out.write(text());
  }

  #connect(config: Config): ControllerClient {
    const { readFile } = this.world;
    const endpoint = endpointOf(config, readFile);
    const fallback = isOwnController(config) ? this.#adminToken(config.adminTokenFile) : null;
    const { requestTimeoutMs } = config.client;
    const operationMs = requestTimeoutMs ?? limits.clientDeadlineMs;
    return new ControllerClient({
      endpoint,
      token: tokenOf(config, readFile) ?? fallback,
      maxTries: limits.cliTries,
      deadlineMs: operationMs,
      readDeadlineMs: requestTimeoutMs ?? limits.cliReadMs,
      operationMs,
      whenSilent,
    });
  }

  #agentOf({ agentSocket, client: { requestTimeoutMs } }: Config): AgentClient {
    return new AgentClient(agentSocket, {
      deadlineMs: requestTimeoutMs ?? limits.mountDeadlineMs,
      readDeadlineMs: requestTimeoutMs ?? limits.cliReadMs,
      whenSilent,
    });
  }

  #adminToken(path: string): string | null {
    try {
      return this.world.readFile(path).trim();
    } catch {
      return null;
    }
  }

  #text(option: string): string | undefined {
    const value: unknown = this.#program.opts()[option];
    return typeof value === 'string' ? value : undefined;
  }
}

/** The administrator's token is shown to nobody but the controller of this machine, at the address that it listens on. */
function isOwnController({ client: { server }, listen }: Config): boolean {
  if (server === null || server.startsWith('/')) return false;
  const { hostname, port, protocol } = new URL(server);
  const defaultPort = protocol === 'https:' ? 443 : 80;
  return (
    isLoopback(hostname === '[::1]' ? '::1' : hostname) && (port === '' ? defaultPort : Number(port)) === listen.port
  );
}

/** What commander calls the option `--log-level`: `logLevel`. */
export function attributeOf(key: SettingKey): string {
  return flagOf(key)
    .slice(2)
    .replaceAll(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
