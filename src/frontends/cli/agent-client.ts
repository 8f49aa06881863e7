/** The agent of this machine, over its unix socket: mounts. */
import { Failure, type Problem } from '../../domain/errors.ts';
import type { Port } from '../../domain/host.ts';
import { type Call, ClientTransport, type TransportOptions } from '../../http/client-transport.ts';

export interface MountView {
  readonly id: string;
  readonly volume: string;
  readonly path: string;
  readonly device: string | null;
  readonly attachment: string | null;
  readonly readOnly?: boolean;
  readonly state?: string;
  /** Users that container engines have on record; null: a person's mount. */
  readonly references?: readonly string[] | null;
}

export interface AgentStatusView {
  readonly host: string;
  readonly ports: readonly Port[];
  readonly capabilities: { readonly simulated: boolean; readonly reasons: readonly string[] };
  readonly controller: {
    readonly reachable: boolean | null;
    readonly lastAnswerAt: number | null;
    readonly problem: string | null;
  };
  readonly registration: { readonly registered: boolean; readonly problem: Problem | null };
  readonly lastReconcile: { readonly at: number; readonly problem: string | null } | null;
  readonly mounts: Readonly<Record<string, number>>;
}

export interface MountWish {
  readonly volume: string;
  readonly path?: string;
  readonly readOnly?: boolean;
}

export class AgentClient {
  readonly #transport: ClientTransport;
  readonly #socketPath: string;

  constructor(
    socketPath: string,
    options: Pick<TransportOptions, 'deadlineMs' | 'readDeadlineMs' | 'whenSilent'> = {},
  ) {
    this.#socketPath = socketPath;
    this.#transport = new ClientTransport({ ...options, endpoint: { socketPath }, peer: 'agent', maxTries: 1 });
  }

  /** The same request again answers the mount that is there. */
  async mount(wish: MountWish): Promise<MountView> {
    return (await this.#call({ method: 'POST', path: '/v1/mounts', body: wish, repeatable: true })) as MountView;
  }

  async mounts(): Promise<readonly MountView[]> {
    const answer = await this.#call({ method: 'GET', path: '/v1/mounts', repeatable: true });
    return (answer as { readonly items: readonly MountView[] }).items;
  }

  async status(): Promise<AgentStatusView> {
    return (await this.#call({ method: 'GET', path: '/v1/status', repeatable: true })) as AgentStatusView;
  }

  async unmount(id: string, options: { readonly force?: boolean } = {}): Promise<void> {
    const query = options.force === true ? { force: true } : {};
    await this.#call({ method: 'DELETE', path: `/v1/mounts/${encodeURIComponent(id)}`, query, repeatable: true });
  }

  close(): void {
    this.#transport.close();
  }

  async #call(call: Call): Promise<unknown> {
    try {
      return (await this.#transport.call(call)).body;
    } catch (error) {
      const silent = error instanceof Failure && error.code === 'controller-unavailable' && error.cause !== undefined;
      if (!silent) throw error;
      throw new Failure('controller-unavailable', `No agent answers at ${this.#socketPath}; is one running?`, {
        cause: error,
      });
    }
  }
}
