/**
 * Groups of tests that need something of the machine (a server, the kernel's devices). A group is left out by its name
 * in FCR_TEST_SKIP only, never because what it needs is missing: a green run means that it ran.
 */
import test, { type ExecutionContext } from 'ava';

export const testGroups = ['clients', 'fc-lab', 'kernel', 'package', 'postgres', 'redis'] as const;
export type TestGroup = (typeof testGroups)[number];

type Declare = (title: string, implementation: (t: ExecutionContext) => void | Promise<void>) => void;

export function isSkipped(group: TestGroup): boolean {
  return (process.env.FCR_TEST_SKIP ?? '').split(',').includes(group);
}

/** AVA's `test` (and `test.serial`) for a group: declares a test, or declares it as skipped, which the summary counts. */
export function testOf(group: TestGroup): Declare & { readonly serial: Declare } {
  if (!isSkipped(group)) return test;
  const skipped: Declare = (title, implementation) => test.skip(title, implementation);
  return Object.assign(skipped, { serial: skipped });
}
