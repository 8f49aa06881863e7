import type { Port, PortState } from '../../domain/host.ts';
import * as out from './output.ts';

export const portStates: readonly PortState[] = ['online', 'offline', 'unreadable'];

export const portFields = out.object<Port>('A Fibre Channel port.', {
  wwpn: out.wwpn('Port name.'),
  fabric: out.text('Ports reach each other within one fabric only.', 'local'),
  state: out.oneOf(portStates, '`unreadable` is not `offline`: its state could not be told.'),
  synthesized: out.flag('Whether the name was made up for a machine without such hardware.'),
});
