/**
 * This host's name at the controller: announced before anything is attached, and again at every reconcile, which is
 * also the sign of life. Another machine with this name or port is refused by the controller (`host-conflict`), and
 * this agent then attaches nothing.
 */
import type { Port } from '../domain/host.ts';
import type { Host } from '../host/host.ts';
import type { ControllerLink } from './controller-link.ts';

export interface RegistrationOptions {
  readonly hostName: string;
  readonly machineId: string;
  readonly bootId: string;
  readonly host: Host;
  readonly link: ControllerLink;
}

export class Registration {
  readonly #options: RegistrationOptions;
  #registered = false;
  #ports: readonly Port[] = [];

  constructor(options: RegistrationOptions) {
    this.#options = options;
  }

  get ports(): readonly Port[] {
    return this.#ports;
  }

  async ensure(): Promise<void> {
    if (!this.#registered) await this.refresh();
  }

  async refresh(): Promise<void> {
    const { hostName: name, machineId, bootId, host, link } = this.#options;
    const initiatorPorts = await host.discoverPorts();
    this.#ports = initiatorPorts;
    const { simulated } = host.capabilities;
    await link
      .call((controller) => controller.hostRegister({ name, machineId, bootId, simulated, initiatorPorts }))
      .catch((error: unknown) => {
        this.#registered = false;
        throw error;
      });
    this.#registered = true;
  }
}
