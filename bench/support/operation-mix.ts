/**
 * The mix of the `operations` bench: 30 % volume.create, 30 % volume.delete, 15 % attach, 15 % detach, 5 % policy create,
 * 5 % policy delete, shuffled within each request. Operations of one request never touch one resource twice, so that every
 * one of them can succeed; what a request made is used by later ones.
 */
export interface OperationBody {
  readonly type: string;
  readonly params: Readonly<Record<string, unknown>>;
}

export interface OperationAnswer {
  readonly type: string;
  readonly state: string;
  readonly resource: { readonly id: string; readonly name?: string; readonly volume?: string } | null;
  readonly problem: { readonly code: string; readonly detail: string } | null;
}

const shares = {
  'volume.create': 0.3,
  'volume.delete': 0.3,
  'volume.attach': 0.15,
  'volume.detach': 0.15,
  'flow-policy.create': 0.05,
  'flow-policy.delete': 0.05,
} as const;

export type MixType = keyof typeof shares;
export const mixTypes = Object.keys(shares) as readonly MixType[];

export class OperationMix {
  readonly #hosts: readonly string[];
  readonly #pool: string;
  readonly #prefix: string;
  readonly #volumes: string[] = [];
  readonly #attached: { readonly attachment: string; readonly volume: string }[] = [];
  readonly #policies: string[] = [];
  #next = 0;

  constructor(options: { readonly hosts: readonly string[]; readonly pool: string; readonly prefix: string }) {
    this.#hosts = options.hosts;
    this.#pool = options.pool;
    this.#prefix = options.prefix;
  }

  /** A request of `count` operations of one type, to have something to work on. */
  only(type: MixType, count: number): OperationBody[] {
    return Array.from({ length: count }, () => this.#operation(type)).filter((operation) => operation !== null);
  }

  request(count: number): OperationBody[] {
    const operations = mixTypes.flatMap((type) => this.only(type, Math.round(count * shares[type])));
    for (let at = operations.length - 1; at > 0; at -= 1) {
      const other = Math.floor(Math.random() * (at + 1));
      const [a, b] = [operations[at], operations[other]];
      if (a !== undefined && b !== undefined) [operations[at], operations[other]] = [b, a];
    }
    return operations;
  }

  /** One operation by the shares, for the run without batches. */
  single(): OperationBody {
    let point = Math.random();
    for (const type of mixTypes) {
      point -= shares[type];
      const operation = point <= 0 ? this.#operation(type) : null;
      if (operation !== null) return operation;
    }
    return this.#create();
  }

  /** Takes in what a request led to. */
  learn(operations: readonly OperationBody[], answers: readonly OperationAnswer[]): void {
    for (const [index, { type, state, resource }] of answers.entries()) {
      if (state !== 'succeeded') continue;
      if (type === 'volume.create' && resource?.name !== undefined) this.#volumes.push(resource.name);
      if (type === 'flow-policy.create' && resource !== null) this.#policies.push(resource.id);
      if (type === 'volume.attach' && resource !== null) {
        this.#attached.push({ attachment: resource.id, volume: String(operations[index]?.params.volume) });
      }
      if (type === 'volume.detach')
        this.#volumes.push(String(this.#detaching.get(String(operations[index]?.params.attachment))));
    }
  }

  readonly #detaching = new Map<string, string>();

  #operation(type: MixType): OperationBody | null {
    switch (type) {
      case 'volume.create':
        return this.#create();
      case 'volume.delete':
        return withFirst(this.#volumes, (volume) => ({ type, params: { volume } }));
      case 'volume.attach':
        return withFirst(this.#volumes, (volume) => ({
          type,
          params: { volume, host: this.#host(), accessMode: 'single-writer' },
        }));
      case 'volume.detach':
        return withFirst(this.#attached, ({ attachment, volume }) => {
          this.#detaching.set(attachment, volume);
          return { type, params: { attachment } };
        });
      case 'flow-policy.create':
        return this.#policy();
      case 'flow-policy.delete':
        return withFirst(this.#policies, (flowPolicy) => ({ type, params: { flowPolicy } }));
    }
  }

  #create(): OperationBody {
    this.#next += 1;
    return { type: 'volume.create', params: { name: `${this.#prefix}-${this.#next}`, pool: this.#pool } };
  }

  #policy(): OperationBody {
    this.#next += 1;
    const digits = this.#next.toString(16).padStart(10, '0');
    const initiatorWwpn = `20:00:00:${digits.match(/../g)?.join(':')}`;
    return {
      type: 'flow-policy.create',
      params: { initiatorWwpn, namespace: `${this.#prefix}-${this.#next}`, action: 'permit' },
    };
  }

  #host(): string {
    return this.#hosts[this.#next % this.#hosts.length] ?? '';
  }
}

function withFirst<T>(list: T[], make: (item: T) => OperationBody): OperationBody | null {
  const item = list.shift();
  return item === undefined ? null : make(item);
}
