/** The command line in a world of its own: nothing of the machine but one directory, and what was written is kept. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { runCli } from '../../src/frontends/cli/run.ts';
import type { CliWorld } from '../../src/frontends/cli/world.ts';
import { type Answer, type Asked, FakeHttp } from './fake-http.ts';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export class TestCli {
  readonly directory: string;
  readonly environment: Record<string, string> = {};
  input = '';
  readonly progress: number[] = [];
  readonly started: { readonly service: string; readonly config: Config; readonly parts?: object }[] = [];
  readonly #interrupt = new AbortController();

  constructor(t: ExecutionContext) {
    this.directory = mkdtempSync(join(tmpdir(), 'fcr-test-cli-'));
    t.teardown(() => rmSync(this.directory, { recursive: true, force: true }));
  }

  /** A controller that answers so, on the socket that the command line finds by itself. */
  async controller(t: ExecutionContext, answer: (asked: Asked) => Answer): Promise<FakeHttp> {
    const fake = await FakeHttp.onSocket(join(this.directory, 'controller.sock'), answer);
    t.teardown(() => fake.close());
    return fake;
  }

  async agent(t: ExecutionContext, answer: (asked: Asked) => Answer): Promise<FakeHttp> {
    const fake = await FakeHttp.onSocket(join(this.directory, 'agent.sock'), answer);
    t.teardown(() => fake.close());
    return fake;
  }

  interrupt(): void {
    this.#interrupt.abort();
  }

  async run(...words: readonly string[]): Promise<Ran> {
    const written = { out: '', err: '' };
    const code = await runCli(words, this.world(written));
    return { code, ...written };
  }

  world(written: { out: string; err: string }): CliWorld {
    return {
      out: { write: (text) => Reflect.set(written, 'out', written.out + text) },
      err: { write: (text) => Reflect.set(written, 'err', written.err + text) },
      directory: '/work-directory',
      version: '1.2.3',
      readConfig: ({ flags, configFile }) =>
        loadConfig({ surroundings: this.#surroundings(), flags, configFile, readFile: () => null }),
      readFile: (path) => readFileSync(path, 'utf8'),
      readInput: () => this.input,
      progress: () => ({ update: (done) => this.progress.push(done), stop: () => undefined }),
      interrupted: () => this.#interrupt.signal,
      services: {
        standalone: async (config) => void this.started.push({ service: 'standalone', config }),
        agent: async (config) => void this.started.push({ service: 'agent', config }),
        controller: async (config, parts) => void this.started.push({ service: 'controller', config, parts }),
        adopt: async (config) => {
          this.started.push({ service: 'adopt', config });
          return ['storage node bound'];
        },
      },
    };
  }

  #surroundings() {
    const environment = { FCR_DATA_DIR: this.directory, ...this.environment };
    return { isRoot: false, home: '/home/ann', hostName: 'node1', environment };
  }
}
