/**
 * Rounds of load, kill, restart, check on one data directory. What a round leaves is what the next one starts with.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeSparseFile } from '../support/linux-host-harness.ts';
import {
  type ClientCheck,
  checkAccepted,
  checkBatches,
  checkBytes,
  checkReplays,
  checkResources,
  checkShownFiles,
  shownPaths,
} from './check-clients.ts';
import { checkReality } from './check-reality.ts';
import { checkStore, Memory } from './check-store.ts';
import { Container } from './container.ts';
import { Findings } from './findings.ts';
import { phasesOf, type Trigger, triggers, untilTrigger } from './killer.ts';
import { type Complaint, Ledger } from './ledger.ts';
import { awayHost, Load, poolName, volumeBytes } from './load.ts';
import { killing, type Strike } from './power-cut.ts';
import { Random } from './random.ts';
import { Service, type ServiceOptions, StoreBehindData } from './service.ts';
import { untilReconciled, untilSettled } from './settled.ts';
import { readDeadStore, readRows, readStore } from './store-image.ts';
import { loopDevicesOn } from './world.ts';

export interface RoundsOptions extends ServiceOptions {
  readonly seed: number;
  readonly rounds: number;
  readonly workers?: number;
  /** The most answers that a round waits for before it looks for a moment to kill. */
  readonly answersBeforeKill?: number;
  /** How often there is a container that has copied the mounts; default: in a fifth of the rounds. */
  readonly containerChance?: number;
  /** How the service is ended; default: killed. */
  readonly strike?: Strike;
  /** Where the clients' and the product's logs go when there was a complaint. */
  readonly keepLogsIn?: string;
  readonly onRound?: (round: RoundReport) => void;
  /** Stops after the round in which one of these complaints comes; default: any. */
  readonly stopAt?: readonly string[];
}

export interface RoundReport {
  readonly round: number;
  readonly trigger: Trigger;
  readonly phases: readonly string[];
  readonly complaints: readonly Complaint[];
  readonly seconds: number;
}

export interface RoundsReport {
  readonly seed: number;
  readonly rounds: number;
  readonly requests: number;
  readonly acknowledged: number;
  readonly inDoubt: number;
  readonly checks: number;
  readonly killsByTrigger: ReadonlyMap<string, number>;
  readonly killsByPhase: ReadonlyMap<string, number>;
  readonly complaints: readonly (Complaint & { readonly round: number })[];
  readonly logTail: string;
}

const defaultAnswersBeforeKill = 80;
const busyTimeoutMs = 10_000;
const defaultContainerChance = 0.2;
const containerStaysMs = 2_000;

export async function runRounds(options: RoundsOptions): Promise<RoundsReport> {
  const service = new Service(options);
  const interrupted = () => void service.takeDown().then(() => process.exit(130));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupted);
  try {
    const rounds = new Rounds(options, service);
    await rounds.prepare();
    for (let round = 1; round <= options.rounds; round += 1) {
      const report = await rounds.round(round);
      options.onRound?.(report);
      if (isEnough(report.complaints, options)) break;
    }
    const report = rounds.report();
    if (report.complaints.length > 0) keepLogs(service, options);
    return report;
  } catch (error) {
    keepLogs(service, options);
    throw error;
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.removeListener(signal, interrupted);
    await service.takeDown();
  }
}

function keepLogs(service: Service, { keepLogsIn, seed }: RoundsOptions): void {
  if (keepLogsIn === undefined) return;
  for (const name of ['clients.log', 'service.log']) {
    cpSync(join(service.root, name), join(keepLogsIn, `crash-${seed}-${name}`));
  }
}

export class Rounds {
  readonly ledger: Ledger;
  readonly load: Load;
  readonly #service: Service;
  readonly #options: RoundsOptions;
  readonly #random: Random;
  readonly #strike: Strike;
  readonly #memory = new Memory();
  readonly #complaints: (Complaint & { round: number })[] = [];
  readonly #killsByTrigger = new Map<string, number>();
  readonly #killsByPhase = new Map<string, number>();
  #checks = 0;
  #rounds = 0;

  constructor(options: RoundsOptions, service: Service) {
    this.#options = options;
    this.#service = service;
    this.#random = new Random(options.seed);
    this.#strike = options.strike ?? killing;
    this.ledger = new Ledger(join(service.root, 'clients.log'));
    const { ledger } = this;
    const workers = options.workers ?? 4;
    this.load = new Load({ service, ledger, random: this.#random.fork(), workers, volumesPerWorker: 4 });
  }

  /** A first start, a pool, a host that nobody sees again, and a neighbour's device that nobody may touch. */
  async prepare(): Promise<void> {
    await this.#strike.prepare(this.#service);
    await this.#service.start();
    const pool = { name: poolName, backend: 'file', volumeSizeBytes: volumeBytes, minFree: 3, maxVolumes: 14 };
    await this.#expectCreated('POST', '/v1/pools', pool);
    await this.#registerAwayHost();
    makeBystander(this.#service.root);
    await this.#service.stop();
    await this.#service.start();
  }

  async round(round: number): Promise<RoundReport> {
    const began = performance.now();
    const trigger = this.#random.pick(triggers);
    this.#rounds = round;
    const { containerChance = defaultContainerChance } = this.#options;
    const container = this.#random.chance(containerChance) ? await Container.start(this.#service.root) : null;
    this.load.start();
    const { answersBeforeKill = defaultAnswersBeforeKill } = this.#options;
    await this.#untilBusy(this.#random.below(answersBeforeKill));
    await untilTrigger(this.#service, trigger, this.#random);
    if (!this.#strike.leavesProcesses) await container?.end();
    const phases = await this.#kill();
    await this.load.stop();
    this.ledger.isCut = false;
    if (trigger === 'start') phases.push(...(await this.#killAtStart()));
    count(this.#killsByTrigger, [trigger]);
    if (container?.running === true) phases.push('held by a container');
    count(this.#killsByPhase, phases);
    const complaints = await this.#recoverAndCheck(container);
    for (const complaint of complaints) this.#complaints.push({ round, ...complaint });
    return { round, trigger, phases, complaints, seconds: (performance.now() - began) / 1_000 };
  }

  report(): RoundsReport {
    const { requests, acknowledged, inDoubt } = this.ledger;
    return {
      seed: this.#options.seed,
      rounds: this.#rounds,
      requests,
      acknowledged,
      inDoubt,
      checks: this.#checks,
      killsByTrigger: this.#killsByTrigger,
      killsByPhase: this.#killsByPhase,
      complaints: this.#complaints,
      logTail: this.#complaints.length === 0 ? '' : this.#service.logTail,
    };
  }

  /** A slow machine gets its load too. */
  async #untilBusy(answers: number): Promise<void> {
    const wanted = this.ledger.acknowledged + answers;
    const deadline = performance.now() + busyTimeoutMs;
    while (this.ledger.acknowledged < wanted && performance.now() < deadline) {
      if (isEnough(this.ledger.complaints, this.#options)) return;
      await sleep(5);
    }
  }

  async #kill(): Promise<string[]> {
    const keys = [...this.ledger.inFlight].flatMap(({ key }) => key ?? []);
    await this.#strike.strike(this.#service, this.ledger);
    return phasesOf(this.#service, readDeadStore(this.#service.storeFile), keys);
  }

  /** Recovery itself is interrupted, at any moment of it. */
  async #killAtStart(): Promise<string[]> {
    this.#service.spawn();
    await sleep(150 + this.#random.below(1_500));
    const phases = await this.#kill();
    this.ledger.isCut = false;
    return ['recovery', ...phases.filter((phase) => phase !== 'idle')];
  }

  /** A container of before the crash holds its copies of the mounts until the service has been up for a while. */
  async #recoverAndCheck(container: Container | null): Promise<readonly Complaint[]> {
    const findings = new Findings();
    // What is wrong already is not worth a restart.
    if (isEnough(this.ledger.complaints, this.#options)) {
      await container?.end();
      return this.ledger.complaints;
    }
    try {
      await this.#service.start();
      await this.#registerAwayHost();
      await sleep(container === null ? 0 : this.#random.below(containerStaysMs));
      await container?.end();
      await this.check(findings);
    } catch (error) {
      const code = error instanceof StoreBehindData ? 'store-behind-data' : 'check-failed';
      findings.expect(false, code, () => (error instanceof Error ? (error.stack ?? error.message) : String(error)));
    }
    await container?.end();
    this.#checks += findings.checks;
    return [...this.ledger.complaints.splice(0), ...findings.complaints];
  }

  /** Only a service at rest can be held against what was asked of it. */
  async check(findings: Findings): Promise<void> {
    const service = this.#service;
    for (const wait of [untilSettled, untilReconciled, untilSettled]) {
      const rest = await wait(service);
      findings.expect(rest === null, 'not-settled', () => rest ?? '');
      if (rest !== null) break;
    }
    const store = readStore(service.storeFile);
    const check: ClientCheck = {
      service,
      ledger: this.ledger,
      handles: this.load.handles,
      findings,
      memory: this.#memory,
    };
    const open = this.ledger.openRequests();
    await checkAccepted(check);
    await checkBatches(check);
    await checkResources(check, store);
    checkStore(findings, service, store, this.#memory);
    checkReality(findings, service, store, shownPaths(check));
    checkBytes(check, store);
    checkShownFiles(check);
    checkBystander(findings, service.root);
    // What is wrong already is not worth waiting for more.
    if (isEnough(findings.complaints, this.#options)) return;
    await this.#checkUnchanged(findings);
    await checkReplays(check, open, store);
  }

  async #checkUnchanged(findings: Findings): Promise<void> {
    const before = readRows(this.#service.storeFile);
    const rest = await untilReconciled(this.#service);
    findings.expect(rest === null, 'not-settled', () => rest ?? '');
    const after = readRows(this.#service.storeFile);
    const changed = [...after].filter((row) => !before.has(row));
    findings.expect(changed.length === 0 && after.size === before.size, 'second-reconcile-changes', () =>
      changed.slice(0, 3).join(' '),
    );
  }

  async #registerAwayHost(): Promise<void> {
    const port = { wwpn: '20:00:00:00:00:00:0a:02', fabric: 'local', state: 'online', synthesized: true };
    const body = { machineId: 'a'.repeat(32), bootId: 'away-boot', simulated: true, initiatorPorts: [port] };
    await this.#expectCreated('PUT', `/v1/hosts/${awayHost}`, body);
  }

  async #expectCreated(method: string, path: string, body: object): Promise<void> {
    const answer = await this.#service.controller({ method, path, body });
    if (answer === null || answer.status >= 300) throw new Error(`${method} ${path}: ${JSON.stringify(answer)}`);
  }
}

function isEnough(complaints: readonly Complaint[], { stopAt }: RoundsOptions): boolean {
  if (stopAt === undefined) return complaints.length > 0;
  return complaints.some(({ code }) => stopAt.includes(code));
}

function count(counts: Map<string, number>, names: readonly string[]): void {
  for (const name of new Set(names)) counts.set(name, (counts.get(name) ?? 0) + 1);
}

const bystanderText = 'this is not yours\n';

/** Somebody else's device on a file that is named like one of ours, with a filesystem, mounted. */
function makeBystander(root: string): void {
  const directory = join(root, 'neighbour');
  const file = join(directory, 'volumes', 'vol_neighbour.1.img');
  mkdirSync(join(directory, 'volumes'), { recursive: true });
  mkdirSync(join(directory, 'mnt'));
  makeSparseFile(file, volumeBytes);
  execFileSync('mkfs.ext4', ['-q', '-F', file]);
  execFileSync('mount', ['-o', 'loop', file, join(directory, 'mnt')]);
  writeFileSync(join(directory, 'mnt', 'text'), bystanderText);
}

function checkBystander(findings: Findings, root: string): void {
  const directory = join(root, 'neighbour');
  findings.expect(loopDevicesOn(directory).length === 1, 'neighbour-touched', () => 'its loop device is gone');
  findings.expect(
    readText(join(directory, 'mnt', 'text')) === bystanderText,
    'neighbour-touched',
    () => 'its mount is gone',
  );
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
