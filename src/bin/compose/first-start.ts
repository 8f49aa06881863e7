import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Config } from '../../config/config.ts';
import { newId } from '../../domain/ids.ts';
import { hashToken, newTokenSecret } from '../../http/token-cache.ts';
import type { StorageNode } from '../../storage-node/storage-node.ts';
import type { Store } from '../../store/store.ts';
import { isAbsent, replaceFile } from '../../system/durable-file.ts';

export interface FirstStart {
  readonly config: Config;
  readonly store: Store;
  /** Null: another process has it, and makes the default pool when it comes. */
  readonly node: StorageNode | null;
  /** False: the API, and the token for it, are another process's. */
  readonly api: boolean;
}

/**
 * Makes sure that a new store has the default pool, which only a process with a storage node can make, and that the admin
 * token of the data directory is one that the store knows. The token's file comes first: a crash in between leaves a
 * token that the next start makes known.
 */
export async function prepareFirstStart({ config, store, node, api }: FirstStart): Promise<void> {
  if (node !== null && config.defaultPool !== null)
    await store.poolCreateFirst({ ...config.defaultPool, backend: 'file', storageNode: node.name });
  if (api) await prepareToken(config, store, node !== null);
}

async function prepareToken(config: Config, store: Store, ownsDirectory: boolean): Promise<void> {
  const existing = await readToken(config.adminTokenFile);
  // A replica that comes later needs no token of its own: nobody would look for it there.
  if (existing === null && !ownsDirectory && (await hasTokens(store))) return;
  const secret = existing ?? newTokenSecret();
  if (existing === null) await replaceFile(config.adminTokenFile, `${secret}\n`, 0o600);
  const hash = hashToken(secret);
  if ((await store.tokenFind(hash)) !== null) return;
  const id = newId('tok');
  await store.tokenCreate({
    id,
    name: `admin-${randomUUID().slice(0, 8)}`,
    hash,
    role: 'admin',
    host: null,
    expiresAt: null,
  });
}

async function hasTokens(store: Store): Promise<boolean> {
  return (await store.tokenList({ pageSize: 1, pageToken: null })).items.length > 0;
}

async function readToken(path: string): Promise<string | null> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}
