/**
 * This host's name at the controller: announced before anything is attached, and again at every reconcile, which is
 * also the sign of life. Another machine with this name or port is refused by the controller (`host-conflict`), and
 * this agent then attaches nothing. So is a token that is not this host's.
 */
import { errorCatalogue, type Problem, problemOf } from '../domain/errors.ts';
import type { Port } from '../domain/host.ts';
import type { Host } from '../host/host.ts';
import type { AgentLogger } from './context.ts';
import { type ControllerLink, isUnknownOutcome } from './controller-link.ts';

export interface RegistrationOptions {
  readonly hostName: string;
  readonly machineId: string;
  readonly bootId: string;
  readonly host: Host;
  readonly link: ControllerLink;
  readonly logger: AgentLogger;
}

/** `problem`: why the controller refused the host; null while nobody has refused it. */
export interface RegistrationState {
  readonly registered: boolean;
  readonly problem: Problem | null;
}

export class Registration {
  readonly #options: RegistrationOptions;
  #state: RegistrationState = { registered: false, problem: null };
  #ports: readonly Port[] = [];

  constructor(options: RegistrationOptions) {
    this.#options = options;
  }

  get state(): RegistrationState {
    return this.#state;
  }

  get ports(): readonly Port[] {
    return this.#ports;
  }

  async ensure(): Promise<void> {
    if (!this.#state.registered) await this.refresh();
  }

  async refresh(): Promise<void> {
    const { hostName: name, machineId, bootId, host, link } = this.#options;
    const initiatorPorts = await host.discoverPorts();
    this.#ports = initiatorPorts;
    const { simulated } = host.capabilities;
    await link
      .call((controller) => controller.hostRegister({ name, machineId, bootId, simulated, initiatorPorts }))
      .catch((error: unknown) => {
        this.#refused(error);
        throw error;
      });
    this.#accepted();
  }

  #accepted(): void {
    if (this.#state.registered) return;
    const { hostName: host, logger } = this.#options;
    this.#state = { registered: true, problem: null };
    logger.info({ host }, 'the controller knows this host');
  }

  /** A controller that is away has refused nothing: what it said last stands. */
  #refused(error: unknown): void {
    const before = this.#state.problem;
    const problem = isUnknownOutcome(error) ? before : problemOf(error);
    this.#state = { registered: false, problem };
    if (problem === null || problem.detail === before?.detail) return;
    const { hostName: host, machineId, logger } = this.#options;
    const { title } = errorCatalogue[problem.code];
    logger.error(
      { host, machineId, problem, title },
      'the controller refuses this host: nothing can be attached to it',
    );
  }
}
