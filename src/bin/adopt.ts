/** Binds the data of every storage node of the running controller to its store, on somebody's explicit word. */
import type { Config } from '../config/config.ts';
import { limits } from '../config/limits.ts';
import { ControllerClient } from '../http/client.ts';

/** Answers one sentence a storage node that was bound. Repeating it changes nothing. */
export async function runAdopt(config: Config): Promise<readonly string[]> {
  const controller = new ControllerClient({ endpoint: { socketPath: config.controllerSocket } });
  try {
    const { items } = await controller.storageNodeList({ pageSize: limits.storageNodes });
    const sentences: string[] = [];
    for (const { name } of items) {
      await controller.storageNodeAdopt(name);
      sentences.push(`The data of storage node ${name} belongs to this store now.`);
    }
    return sentences;
  } finally {
    controller.close();
  }
}
