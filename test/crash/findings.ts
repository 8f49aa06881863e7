import type { Complaint } from './ledger.ts';

/** What the checker looked at, and what it has to complain about. */
export class Findings {
  readonly complaints: Complaint[] = [];
  checks = 0;

  expect(holds: boolean, code: string, detail: () => string): void {
    this.checks += 1;
    if (!holds) this.complaints.push({ code, detail: detail() });
  }

  /** Both lists hold the same, each once. */
  expectSame(code: string, there: readonly string[], wanted: readonly string[]): void {
    const extra = surplus(there, wanted);
    const missing = surplus(wanted, there);
    this.checks += Math.max(1, wanted.length) - 1;
    this.expect(
      extra.length + missing.length === 0,
      code,
      () => `too much: ${extra.join(' ')}; missing: ${missing.join(' ')}`,
    );
  }

  expectUnique(code: string, values: readonly string[]): void {
    const repeated = values.filter((value, index) => values.indexOf(value) !== index);
    this.expect(repeated.length === 0, code, () => repeated.join(' '));
  }
}

function surplus(list: readonly string[], other: readonly string[]): string[] {
  const rest = [...other];
  return list.filter((value) => {
    const at = rest.indexOf(value);
    if (at !== -1) rest.splice(at, 1);
    return at === -1;
  });
}
