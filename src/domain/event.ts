/** One change of state, as the event stream shows it. */
export interface Event {
  /** `<commit cursor>.<index within the commit>`: rises without gaps in the commit part. */
  readonly cursor: string;
  readonly at: number;
  readonly kind: 'volume' | 'attachment' | 'flow-policy' | 'pool' | 'host' | 'batch' | 'qos-policy' | 'storage-node';
  readonly id: string;
  readonly name: string | null;
  readonly state: string;
}
