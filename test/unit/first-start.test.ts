import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { prepareFirstStart } from '../../src/bin/compose/first-start.ts';
import { registerStorageNode } from '../../src/bin/compose/storage-node.ts';
import { openStore } from '../../src/bin/compose/store.ts';
import { loadConfig } from '../../src/config/load.ts';
import { SimulatedStorageNode } from '../../src/storage-node/simulator/simulated-storage-node.ts';

async function open(t: ExecutionContext) {
  const dataDir = mkdtempSync(join(tmpdir(), 'fcr-first-'));
  const surroundings = { isRoot: false, home: dataDir, hostName: 'node1', environment: {} };
  const { config } = loadConfig({ surroundings, flags: { dataDir, 'host.mode': 'simulated' }, readFile: () => null });
  const store = await openStore(config, t.fail);
  t.teardown(async () => {
    await store.close();
    rmSync(dataDir, { recursive: true });
  });
  const node = new SimulatedStorageNode({ name: config.storageNode.name });
  const replica = () => prepareFirstStart({ config, store, node: null, api: true });
  const worker = async (api: boolean) => {
    await registerStorageNode(store, node);
    await prepareFirstStart({ config, store, node, api });
  };
  return { config, store, replica, worker };
}

for (const api of [true, false]) {
  test(`a worker ${api ? 'with' : 'without'} an API makes the default pool also where a replica was there first`, async (t) => {
    const { store, replica, worker } = await open(t);
    await replica();
    t.is(await store.poolGet('default'), null);
    await worker(api);
    t.not(await store.poolGet('default'), null);
  });
}

test('the default pool that somebody has deleted is not made again, by no start', async (t) => {
  const { config, store, worker } = await open(t);
  await worker(true);
  await store.poolDelete('default');
  await worker(true);
  await worker(false);
  rmSync(config.adminTokenFile);
  await worker(true);
  t.is(await store.poolGet('default'), null);
});

test('the token of the directory is known to the store, and stays the one that it is', async (t) => {
  const { config, store, worker } = await open(t);
  await worker(true);
  const token = readFileSync(config.adminTokenFile, 'utf8');
  await worker(true);
  t.is(readFileSync(config.adminTokenFile, 'utf8'), token);
  t.is((await store.tokenList({ pageSize: 10, pageToken: null })).items.length, 1);
});
