import { PostgresServer } from '../../test/support/postgres.ts';
import { RedisServer } from '../../test/support/redis.ts';
import { type OptionValues, textOption } from './bench.ts';

/** The real PostgreSQL and Redis of a bench, as far as its options ask for them. */
export class Services {
  readonly #postgres: PostgresServer | null;
  readonly #redis: RedisServer | null;

  private constructor(postgres: PostgresServer | null, redis: RedisServer | null) {
    this.#postgres = postgres;
    this.#redis = redis;
  }

  static async start(options: OptionValues): Promise<Services> {
    const postgres = textOption(options, 'store') === 'postgres' ? await PostgresServer.start() : null;
    const redis = textOption(options, 'queue') === 'bullmq' ? await RedisServer.start() : null;
    return new Services(postgres, redis);
  }

  /** A fresh database; null where the store is embedded. */
  async database(): Promise<string | null> {
    return this.#postgres === null ? null : (await this.#postgres.createDatabase()).url;
  }

  /** The product's settings, on a database of its own. */
  async environment(): Promise<Readonly<Record<string, string>>> {
    const url = await this.database();
    return {
      ...(url === null ? {} : { FCR_STORE: 'postgres', FCR_POSTGRES_URL: url }),
      ...(this.#redis === null ? {} : { FCR_QUEUE: 'bullmq', FCR_REDIS_URL: this.#redis.url }),
    };
  }

  async close(): Promise<void> {
    await this.#redis?.close();
    await this.#postgres?.close();
  }
}
