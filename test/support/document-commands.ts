/**
 * The commands of a page, as a reader would type them: blocks marked `<!-- run -->`, all in one shell, in the order of
 * the page. `# prints: text` behind a command says what its output must contain.
 */
import { readText } from '../tidy/source-tree.ts';

/** Fails, naming what was missing and what came instead. */
const expectFunction = String.raw`
expect() {
  local came
  came=$(cat)
  case $came in *"$1"*) ;; *) printf 'not printed: %s\ninstead: %s\n' "$1" "$came" >&2; return 1 ;; esac
}`;

export function markedBlocks(document: string): readonly string[] {
  return [...readText(document).matchAll(/<!-- run -->\n```sh\n(.*?)```/gs)].map(([, block = '']) => block);
}

/** A command may go over several lines, as long as its quotes or its backslashes do; `# prints:` ends it. */
export function scriptOf(blocks: readonly string[]): string {
  const lines = blocks.join('').split('\n');
  const script: string[] = [expectFunction, 'set -euo pipefail'];
  let command: string[] = [];
  for (const line of lines) {
    const [, text = '', , printed] = /^(.*?)(\s+# prints: (.*))?$/.exec(line) ?? [];
    command.push(text);
    if (isOpen(command.join('\n'))) continue;
    const whole = command.join('\n');
    script.push(printed === undefined ? whole : `{ ${whole}\n} | expect ${quoted(printed)}`);
    command = [];
  }
  return script.join('\n');
}

function isOpen(command: string): boolean {
  return command.endsWith('\\') || (command.match(/'/g) ?? []).length % 2 === 1;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
