/**
 * Which part of the project may know which: the ladder, and the few rules that it cannot say.
 * A lower rung never imports a higher one; adapters and ports share folders, so they are told apart by depth.
 */
import type { Import } from './source-tree.ts';

interface Rung {
  readonly name: string;
  readonly height: number;
  readonly pattern: RegExp;
}

/** First match counts. The limits are numbers without any import, and belong to everybody. */
const rungs: readonly Rung[] = [
  { name: 'limits', height: 0, pattern: /^src\/config\/limits\.ts$/ },
  { name: 'domain', height: 1, pattern: /^src\/domain\// },
  { name: 'ground', height: 2, pattern: /^src\/(?:system|telemetry|config)\// },
  { name: 'bindings', height: 2, pattern: /^native-bindings\// },
  { name: 'port', height: 3, pattern: /^src\/(?:store|queue|backends|fabric|storage-node|host)\/[^/]+\.ts$/ },
  { name: 'port', height: 3, pattern: /^src\/(?:operations\/control-plane|agent\/controller-port)\.ts$/ },
  {
    name: 'adapter',
    height: 4,
    pattern: /^src\/(?:store|queue|backends|fabric|storage-node|host)\/[^/]+\/|^migrations\//,
  },
  { name: 'operations', height: 4, pattern: /^src\/(?:operations|maintenance)\// },
  { name: 'edge', height: 5, pattern: /^src\/(?:http|agent)\// },
  { name: 'frontend', height: 6, pattern: /^src\/frontends\// },
  { name: 'bin', height: 7, pattern: /^src\/bin\// },
];

export function rungOf(path: string): Rung | null {
  return rungs.find((rung) => rung.pattern.test(path)) ?? null;
}

/** What is wrong with one import, or null. */
export function ladderViolation(item: Import): string | null {
  if (item.package) return item.target === 'koffi' ? koffiViolation(item) : null;
  const [from, to] = [rungOf(item.file), rungOf(item.target)];
  if (from === null || to === null) return `${from === null ? item.file : item.target} stands on no rung of the ladder`;
  if (to.height > from.height)
    return `${from.name} (rung ${from.height}) may not import ${to.name} (rung ${to.height})`;
  return bindingsViolation(item) ?? adapterViolation(item, from, to) ?? clientViolation(item, from);
}

function koffiViolation(item: Import): string | null {
  return rungOf(item.file)?.name === 'bindings' ? null : 'koffi is imported under native-bindings only';
}

const mayUseBindings =
  /^native-bindings\/|^src\/host\/linux\/|^src\/backends\/|^src\/fabric\/lio\/|^src\/system\/(?:allocate-ahead|blocking|command|directory-lock)/;

function bindingsViolation(item: Import): string | null {
  if (!item.target.startsWith('native-bindings/') || mayUseBindings.test(item.file)) return null;
  return 'native-bindings are for src/host/linux, src/backends, src/fabric/lio, src/system/allocate-ahead, blocking*, command and directory-lock';
}

function adapterViolation(item: Import, from: Rung, to: Rung): string | null {
  if (to.name !== 'adapter' || from.name === 'bin') return null;
  if (from.name !== 'adapter') return `${from.name} sees ports only; adapters are made in src/bin`;
  const [mine, other] = [adapterOf(item.file), adapterOf(item.target)];
  if (mine === other || (mine === 'src/store/kysely' && other === 'migrations')) return null;
  return `adapters never import each other (${mine}, ${other})`;
}

function adapterOf(path: string): string {
  return path.startsWith('migrations/') ? 'migrations' : path.split('/').slice(0, 3).join('/');
}

/** Frontends and the agent are clients: REST is their way, and what they share with the inside is types. */
function clientViolation(item: Import, from: Rung): string | null {
  const client = from.name === 'frontend' || item.file.startsWith('src/agent/');
  if (!client || item.typeOnly || !/^src\/(?:store|queue|operations|maintenance)\//.test(item.target)) return null;
  return 'frontends and the agent reach the inside over REST; only types may be imported';
}
