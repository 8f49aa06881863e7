/** A label that comes from outside may take this many values; all later ones are told as one. */
export class BoundedLabel {
  static readonly overflow = 'other';
  readonly #most: number;
  readonly #known = new Set<string>();

  constructor(most: number) {
    this.#most = most;
  }

  of(value: string): string {
    if (this.#known.has(value)) return value;
    if (this.#known.size >= this.#most) return BoundedLabel.overflow;
    this.#known.add(value);
    return value;
  }
}
