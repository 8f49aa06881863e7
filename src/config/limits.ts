/** Every limit of the product, in one file. Reaching one is a clear answer, never a crash. */
export const limits = {
  // operations
  batchOperations: 1_000,
  groupBatches: 64,
  groupOperations: 4_000,
  journalBacklogOperations: 50_000,
  effectLeaseMs: 30_000,
  bodyBytes: 4 * 1024 * 1024,
  waitMs: 30_000,
  idempotencyKeyLength: 255,
  // resources
  nameLength: 128,
  labelCount: 32,
  labelKeyLength: 63,
  labelValueLength: 255,
  pools: 256,
  hosts: 10_000,
  portsPerHost: 16,
  storageNodes: 256,
  qosPolicies: 10_000,
  poolVolumes: 2_000_000,
  lunsPerPath: 16_384,
  volumeBytesMin: 16 * 1024 * 1024,
  volumeBytesMax: 64 * 1024 ** 4,
  pageSizeDefault: 100,
  pageSizeMax: 1_000,
  // blocking calls
  blockingThreads: 4,
  blockingReplacements: 8,
  blockingQueuedCalls: 20_000,
  // QoS
  qosIopsMax: 100_000_000,
  qosBandwidthMax: 1024 ** 4,
  qosWeightMax: 10_000,
  qosWeightDefault: 100,
  qosBurstSecondsMax: 3_600,
  qosBurstSecondsDefault: 10,
  // durable logs
  recordLogRecordsPerLine: 1_000,
  recordLogSlackRecords: 4_096,
} as const;
