/**
 * What an agent counts. Labels come from closed sets: states, phases, outcomes and error codes, never names of volumes.
 */
import { Gauge, Registry } from 'prom-client';
import type { ErrorKind } from '../domain/errors.ts';
import { DockerCallMetrics } from './docker-call-metrics.ts';
import { Instruments, seconds, tellProcess } from './instruments.ts';

/** From one system call to the longest format. */
const durationBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120];

/** How the agent is now, read when somebody scrapes. */
export interface AgentNow {
  readonly mounts: Readonly<Record<string, number>>;
  readonly controllerReachable: boolean;
  readonly registered: boolean;
  readonly storeForeign: boolean;
}

export interface AgentMetricsOptions {
  readonly now: () => AgentNow;
  /** The agent is all of its process: the process's own figures are told here too. */
  readonly ofProcess: boolean;
}

export class AgentMetrics {
  readonly registry = new Registry();
  readonly #make = new Instruments({ registry: this.registry, prefix: 'fcr_agent', buckets: durationBuckets });
  readonly #phases = this.#make.durations('phase_duration_seconds', 'Time of one phase of a mount or an unmount.', [
    'phase',
  ]);
  readonly #actions = this.#make.durations('action_duration_seconds', 'Time of a mount or an unmount as a whole.', [
    'action',
    'outcome',
  ]);
  readonly #errors = this.#make.counter('errors_total', 'Mounts and unmounts that failed, by code.', [
    'action',
    'code',
  ]);
  readonly #runs = this.#make.counter('reconcile_runs_total', 'Runs of the reconciler.', ['outcome']);
  readonly #runTimes = this.#make.durations('reconcile_duration_seconds', 'Time of one run of the reconciler.', []);
  readonly #dockerCalls = new DockerCallMetrics(
    new Instruments({ registry: this.registry, prefix: 'fcr', buckets: durationBuckets }),
  );
  readonly #volumes = this.#make.counter('reconciled_volumes_total', 'Volumes that the reconciler looked at.', [
    'outcome',
  ]);

  constructor({ now, ofProcess }: AgentMetricsOptions) {
    const { registry } = this;
    const gauge = (name: string, help: string, value: (agent: AgentNow) => number) =>
      new Gauge({
        name: `fcr_agent_${name}`,
        help,
        registers: [registry],
        collect() {
          this.set(value(now()));
        },
      });
    gauge('controller_reachable', 'Whether the controller answered last.', (agent) =>
      Number(agent.controllerReachable),
    );
    gauge('registered', 'Whether the controller knows this host.', (agent) => Number(agent.registered));
    gauge(
      'store_foreign',
      'Whether the store of the controller is not the one that this host follows, or is behind.',
      (agent) => Number(agent.storeForeign),
    );
    new Gauge({
      name: 'fcr_agent_mounts',
      help: 'Mounts by state.',
      labelNames: ['state'],
      registers: [registry],
      collect() {
        for (const [state, count] of Object.entries(now().mounts)) this.set({ state }, count);
      },
    });
    if (ofProcess) tellProcess(registry);
  }

  phaseTook(phase: string, durationMs: number): void {
    this.#phases.observe({ phase }, seconds(durationMs));
  }

  actionEnded(action: string, problem: string | null, durationMs: number): void {
    const outcome = problem === null ? 'succeeded' : 'failed';
    this.#actions.observe({ action, outcome }, seconds(durationMs));
    if (problem !== null) this.#errors.inc({ action, code: problem });
  }

  reconciled(run: {
    readonly succeeded: boolean;
    readonly durationMs: number;
    readonly volumes: Readonly<Record<string, number>>;
  }): void {
    this.#runs.inc({ outcome: run.succeeded ? 'succeeded' : 'failed' });
    this.#runTimes.observe(seconds(run.durationMs));
    for (const [outcome, count] of Object.entries(run.volumes)) this.#volumes.inc({ outcome }, count);
  }

  dockerCallEnded(method: string, outcome: 'succeeded' | ErrorKind, durationMs: number): void {
    this.#dockerCalls.ended(method, outcome, durationMs);
  }

  close(): void {
    this.registry.clear();
  }
}
