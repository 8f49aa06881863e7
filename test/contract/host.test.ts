import test from 'ava';
import { testOf } from '../support/groups.ts';
import { LinuxHostHarness } from '../support/linux-host-harness.ts';
import { SimulatedHostHarness } from '../support/simulated-host-harness.ts';
import { hostContract } from './host-contract.ts';

hostContract({ adapter: 'simulator', declare: test, makeHarness: (t) => SimulatedHostHarness.make(t) });
hostContract({ adapter: 'linux', declare: testOf('kernel').serial, makeHarness: (t) => LinuxHostHarness.make(t) });
