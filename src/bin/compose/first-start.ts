import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Config } from '../../config/config.ts';
import { newId } from '../../domain/ids.ts';
import { hashToken, newTokenSecret } from '../../http/token-cache.ts';
import type { Store } from '../../store/store.ts';
import { isAbsent, replaceFile } from '../../system/durable-file.ts';

/**
 * Makes sure that the admin token of the data directory is one that the store knows, and, when there was none, that the
 * default pool exists. The file comes first: a crash in between leaves a token that the next start makes known.
 */
export async function prepareFirstStart(config: Config, store: Store, storageNode: string): Promise<void> {
  const existing = await readToken(config.adminTokenFile);
  const secret = existing ?? newTokenSecret();
  if (existing === null) await replaceFile(config.adminTokenFile, `${secret}\n`, 0o600);
  const hash = hashToken(secret);
  if ((await store.tokenFind(hash)) !== null) return;
  if (config.defaultPool !== null) await store.poolCreate({ ...config.defaultPool, backend: 'file', storageNode });
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

async function readToken(path: string): Promise<string | null> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}
