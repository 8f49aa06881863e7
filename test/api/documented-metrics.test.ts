/** What the documents say about metrics, against what a life of the whole product leaves in them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { MountView } from '../../src/agent/mount-schema.ts';
import { startStandalone } from '../../src/bin/compose/standalone.ts';
import { loadConfig } from '../../src/config/load.ts';
import { ControllerClient } from '../../src/http/client.ts';
import { type Call, ClientTransport } from '../../src/http/client-transport.ts';
import { silentLog } from '../../src/telemetry/log.ts';
import { TestCli } from '../support/cli.ts';
import { until } from '../support/daemon.ts';

const root = resolve(import.meta.dirname, '../..');

/** One process on its own store has no lease; test/postgres has those that do. */
const onSharedStores = ['fcr_worker_lease_held'];

function documents(): string {
  const files = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)];
  return files
    .filter((name) => name.endsWith('.md'))
    .map((name) => readFileSync(join(root, name), 'utf8'))
    .join('\n');
}

function documentedMetrics(): readonly string[] {
  const named = documents().match(/\bfcr_[a-z_]*[a-z]/g) ?? [];
  return [...new Set(named)].filter((name) => !onSharedStores.includes(name));
}

/** `phase`s in the sentence that explains the histogram. */
function documentedPhases(): ReadonlySet<string> {
  const [, words = ''] = /fcr_operation_phase_duration_seconds` by `phase` \(([^:]*):/.exec(documents()) ?? [];
  return new Set([...words.matchAll(/`(\w+)`/g)].map(([, word = '']) => word));
}

interface Product {
  readonly controller: ControllerClient;
  readonly agent: ClientTransport;
  readonly engine: ClientTransport;
}

async function start(t: ExecutionContext): Promise<Product> {
  const { directory } = new TestCli(t);
  const flags = {
    dataDir: directory,
    listen: '127.0.0.1:0',
    'host.mode': 'simulated',
    'storageNode.kind': 'simulated',
    'defaultPool.volumeSize': '16MiB',
    'docker.socket': join(directory, 'docker.sock'),
  };
  const surroundings = { isRoot: false, home: '/home/ann', hostName: 'node1', environment: {} };
  const { config } = loadConfig({ surroundings, flags, readFile: () => null });
  const product = await startStandalone(config, silentLog, (message) => t.fail(message));
  t.teardown(() => product.close());
  const to = (name: string) => ({ endpoint: { socketPath: join(directory, `${name}.sock`) } });
  const controller = new ControllerClient(to('controller'));
  const [agent, engine] = [new ClientTransport(to('agent')), new ClientTransport(to('docker'))];
  t.teardown(() => [controller, agent, engine].forEach((each) => void each.close()));
  return { controller, agent, engine };
}

const call = (method: Call['method'], path: string, body?: object): Call => ({
  method,
  path,
  repeatable: false,
  ...(body === undefined ? {} : { body }),
});

async function live({ controller, agent, engine }: Product): Promise<void> {
  const isFilled = async () => (await controller.poolGet('default'))?.status.free !== 0;
  await until(isFilled, { what: 'the pool is filled' });
  await controller.volumeCreate({ name: 'data' });
  const mounted = (await agent.call(call('POST', '/v1/mounts', { volume: 'data', path: '/mnt/data' }))).body;
  await engine.call(call('POST', '/VolumeDriver.List', {}));
  await agent.call(call('DELETE', `/v1/mounts/${(mounted as MountView).id}`));
  await controller.volumeDelete('data');
}

async function scraped({ controller, agent }: Product): Promise<string> {
  const { body } = await agent.call(call('GET', '/metrics'));
  return `${await controller.metricsText()}\n${String(body)}`;
}

const hasSample = (text: string, name: string) => new RegExp(`^${name}(?:_count)?[{ ]`, 'm').test(text);

test('after one life of a volume every metric that the documents name has a sample', async (t) => {
  const product = await start(t);
  await live(product);
  const names = documentedMetrics();
  t.true(names.length > 20);
  let text = '';
  // The reconcilers take their turn.
  const isComplete = async () => {
    text = await scraped(product);
    return names.every((name) => hasSample(text, name));
  };
  await until(isComplete, { what: 'every documented metric has a sample' }).catch(() => undefined);
  t.deepEqual(
    names.filter((name) => !hasSample(text, name)),
    [],
  );
  const phases = [...text.matchAll(/^fcr_operation_phase_duration_seconds_count\{phase="(\w+)"/gm)];
  t.true(phases.length > 0);
  t.deepEqual(
    phases.map(([, phase = '']) => phase).filter((phase) => !documentedPhases().has(phase)),
    [],
  );
});
