/**
 * A process that dies at a chosen step. Everything it can do to the world goes through one gate; from the crash on
 * nothing of it has any effect, clean-up code included.
 */
export class Crash extends Error {
  constructor() {
    super('the process is dead');
    this.name = 'Crash';
  }
}

export class CrashGate {
  /** `<before|after> <call>` of each step passed. */
  readonly steps: string[] = [];
  readonly #dieAt: number;
  #isDead = false;

  /** The number of the step, from 0, at which it dies. */
  constructor(dieAt: number = Number.POSITIVE_INFINITY) {
    this.#dieAt = dieAt;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** The same object, whose named asynchronous methods pass the gate before and after they take effect. */
  through<T extends object>(target: T, methods: readonly (keyof T & string)[]): T {
    const names: readonly string[] = methods;
    return new Proxy(target, {
      get: (_, name) => {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member !== 'function') return member;
        if (typeof name === 'symbol' || !names.includes(name)) return member.bind(target);
        return (...args: unknown[]) => this.#pass(name, () => Reflect.apply(member, target, args) as Promise<unknown>);
      },
    });
  }

  async #pass(name: string, act: () => Promise<unknown>): Promise<unknown> {
    this.#step(`before ${name}`);
    const answer = await act();
    this.#step(`after ${name}`);
    return answer;
  }

  #step(step: string): void {
    if (this.#isDead) throw new Crash();
    this.#isDead = this.steps.length === this.#dieAt;
    this.steps.push(step);
    if (this.#isDead) throw new Crash();
  }
}
