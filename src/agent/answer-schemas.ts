/** What the local API answers with; each schema is tied to the type of its answer, documents it and serialises it. */
import type { HostCapabilities } from '../host/host.ts';
import * as out from '../http/schema/output.ts';
import { portFields } from '../http/schema/port.ts';
import type { ProblemDocument } from '../http/schema/problem.ts';
import type { AgentStatus, Unready } from './agent.ts';
import type { Reachability } from './controller-link.ts';
import type { FollowedStoreState } from './followed-store.ts';
import { mountTransitions } from './mount-journal.ts';
import type { MountView } from './mount-schema.ts';
import type { ReconcileSummary } from './reconcile.ts';
import type { RegistrationState } from './registration.ts';

const mountStates = Object.keys(mountTransitions);

export const mountSchema = out.named<MountView>(
  'Mount',
  out.object<MountView>('A volume that this machine shows at a path, or is about to, or no longer.', {
    id: out.text('Id of the mount.', 'mnt_01JD0000000000000000000000'),
    volume: out.text('Name of the volume; its id where it has none.', 'data'),
    volumeId: out.text('Id of the volume.', 'vol_01JD0000000000000000000000'),
    path: out.text('Where it is shown.', '/mnt/data'),
    device: out.textOrNull('Its block device.', '/dev/loop3', null),
    attachment: out.textOrNull('Id of the attachment that it stands on.', 'att_01JD0000000000000000000000', null),
    readOnly: out.flag('Whether it is for reading only.'),
    namespace: out.textOrNull('The container that it is for.', 'c0ffee12', null),
    references: {
      type: ['array', 'null'],
      items: out.text('Name of a user, as its engine gave it.'),
      description: "Who needs it, by container engines' names; null: a person's mount.",
      examples: [null],
    },
    state: out.oneOf(mountStates, '`detaching`: unmounted, but something still holds the device.'),
    heldBy: out.textOrNull('Why it does not go: who holds it.', null),
    createdAt: out.instant('When it was asked for'),
  }),
);

export interface MountList {
  readonly items: readonly MountView[];
}

export const mountListSchema = out.named<MountList>(
  'MountList',
  out.object<MountList>('All mounts of this machine.', {
    items: out.listOf({ $ref: `${mountSchema.$id}#` }, 'The mounts.'),
  }),
);

type ToldProblem = Pick<ProblemDocument, 'code' | 'detail'>;

const flagOrNull = (description: string) => ({ type: ['boolean', 'null'], description, examples: [true] });
const count = (description: string) => out.integer(description, 1);

export const agentStatusSchema = out.named<AgentStatus>(
  'AgentStatus',
  out.object<AgentStatus>('How the agent is, and what keeps it from mounting.', {
    host: out.text('Name of this machine as a host.', 'node1'),
    ports: out.listOf(portFields, 'Its initiator ports.'),
    capabilities: out.object<HostCapabilities>('What this machine can do.', {
      simulated: out.flag('Whether devices are simulated.'),
      loop: out.flag('Whether loop devices can be had.'),
      mount: out.flag('Whether mounts can be had.'),
      fibreChannel: out.flag('Whether it has Fibre Channel ports.'),
      reasons: out.listOf(out.text('A reason.'), 'Why something is missing, for people.'),
    }),
    controller: out.object<Reachability>('Whether the controller answers.', {
      reachable: flagOrNull('Null: it was not asked yet.'),
      lastAnswerAt: out.instantOrNull('When it answered last'),
      problem: out.textOrNull('What its silence was.', null),
    }),
    registration: out.object<RegistrationState>('Whether the controller knows this host.', {
      registered: out.flag('Whether it does.'),
      problem: out.objectOrNull<ToldProblem>('Why it refuses this host; null while it does not.', {
        code: out.text('Stable code, for programs.', 'host-conflict'),
        detail: out.text('What happened, for people.'),
      }),
    }),
    store: out.object<FollowedStoreState>('Which store this host follows.', {
      id: out.textOrNull('Its id; null: none was seen yet.', '7b0f5a52-54d5-4f0f-8a3f-0c7f6f3f0a11', null),
      problem: out.textOrNull("Why the controller's store is not followed; null while it is.", null),
    }),
    lastReconcile: out.objectOrNull<ReconcileSummary>('The last comparison of this machine with the controller.', {
      at: out.instant('When it ended'),
      durationMs: out.integer('How long it took, in milliseconds.', 12),
      problem: out.textOrNull('What kept it from its end.', null),
      outcomes: out.object<ReconcileSummary['outcomes']>('Volumes by what was done about them.', {
        left: count('Somebody worked on them.'),
        kept: count('Nothing was to be done after all.'),
        remade: count('Mounted or reported again.'),
        released: count('Something was removed.'),
        foreign: count('The store knows less than this host: nothing was touched.'),
        failed: count('It did not succeed; the log says why.'),
      }),
    }),
    mounts: out.object<AgentStatus['mounts']>('Mounts by state.', {
      attaching: count('Asked for, not answered yet.'),
      mounted: count('Mounted.'),
      unmounting: count('Asked to go.'),
      detaching: count('Unmounted; something still holds the device.'),
    }),
  }),
);

export interface AgentReadiness {
  readonly status: 'ready' | 'not-ready';
  readonly unready: readonly Unready[];
}

export const agentReadinessSchema = out.named<AgentReadiness>(
  'AgentReadiness',
  out.object<AgentReadiness>('Whether new mounts would be made; what is mounted works all the same.', {
    status: out.oneOf(['ready', 'not-ready'], '`not-ready`: new mounts would be refused.'),
    unready: out.listOf(
      out.object<Unready>('What is not ready.', {
        part: out.oneOf(['controller', 'registration'], 'Name of the part.'),
        reason: out.text('What is wrong, for people.', 'The controller does not answer.'),
      }),
      'What keeps new mounts from being made.',
    ),
  }),
);
