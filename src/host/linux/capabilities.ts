// What this machine really lets us do: each capability is tried out, since a user id, a container or a missing module
// says little about it.

import { readdir } from 'node:fs/promises';
import { Failure } from '../../domain/errors.ts';
import type { BlockingPool } from '../../system/blocking-pool.ts';
import { isDiskFull } from '../../system/full-disk.ts';
import { SystemCallError, systemCodeOf } from '../../system/system-call-error.ts';
import type { HostCapabilities } from '../host.ts';

export interface ProbeSettings {
  readonly root: string;
  readonly stateDirectory: string;
  readonly callDeadlineMs: number;
}

type ProbePool = Pick<BlockingPool, 'run'>;

export async function probeCapabilities(pool: ProbePool, settings: ProbeSettings): Promise<HostCapabilities> {
  const [loop, mount, fibreChannel] = await Promise.all([
    whyNot(pool, 'probeLoop', settings),
    whyNot(pool, 'probeMount', settings),
    hasFibreChannel(settings.root),
  ]);
  const reasons = [
    ...(loop === null ? [] : [`no loop devices (${loop})`]),
    ...(mount === null ? [] : [`no mounts (${mount})`]),
  ];
  return { simulated: false, loop: loop === null, mount: mount === null, fibreChannel, reasons };
}

/** Null: it works. A full disk says nothing about the machine; mount(2) has the same code for too many mounts (fs.mount-max). */
async function whyNot(pool: ProbePool, probe: string, settings: ProbeSettings): Promise<string | null> {
  try {
    await pool.run(probe, [settings.stateDirectory], { deadlineMs: settings.callDeadlineMs });
    return null;
  } catch (error) {
    if (isDiskFull(error) && !isOfMount(error)) throw error;
    if (error instanceof Failure) return error.problem.detail;
    if (error instanceof SystemCallError) return `${error.syscall}: ${error.code}`;
    throw error;
  }
}

function isOfMount(error: unknown): boolean {
  return error instanceof SystemCallError && error.syscall === 'mount';
}

async function hasFibreChannel(root: string): Promise<boolean> {
  try {
    return (await readdir(`${root}/sys/class/fc_host`)).length > 0;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return false;
    throw error;
  }
}
