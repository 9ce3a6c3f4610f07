/** NVM Express (NVMe 1.4; NVM command set): registers, commands and identify fields, used by driver and device. */
export const Reg = {
  Cap: 0x00,
  Version: 0x08,
  Cc: 0x14,
  Csts: 0x1c,
  Aqa: 0x24,
  Asq: 0x28,
  Acq: 0x30,
  Doorbells: 0x1000,
} as const;

export const CC_ENABLE = 1;
/** 64-byte submission and 16-byte completion entries, as powers of two, in their fields of CC. */
export const CC_ENTRY_SIZES = (6 << 16) | (4 << 20);
export const CSTS_READY = 1;
export const CSTS_FATAL = 2;

export const SQE_BYTES = 64;
export const CQE_BYTES = 16;
/** Offsets in a completion entry: result, submission queue id, command id, status with the phase in bit 0. */
export const CQE_SQ_ID = 10;
export const CQE_COMMAND_ID = 12;
export const CQE_STATUS = 14;

export const Admin = {
  DeleteSq: 0x00,
  CreateSq: 0x01,
  DeleteCq: 0x04,
  CreateCq: 0x05,
  Identify: 0x06,
  SetFeatures: 0x09,
  GetFeatures: 0x0a,
} as const;
export const Io = { Flush: 0x00, Write: 0x01, Read: 0x02, WriteZeroes: 0x08, Dataset: 0x09 } as const;

export const Cns = { Namespace: 0, Controller: 1 } as const;
export const Feature = { WriteCache: 6, Queues: 7 } as const;

/** Status: code type << 8 | code. */
export const NvmeStatus = {
  Ok: 0,
  InvalidOpcode: 0x01,
  InvalidField: 0x02,
  DataTransfer: 0x04,
  Internal: 0x06,
  InvalidNamespace: 0x0b,
  InvalidPrpOffset: 0x13,
  LbaRange: 0x80,
  InvalidCq: 0x100,
  InvalidQueueId: 0x101,
  InvalidQueueSize: 0x102,
  WriteFault: 0x280,
  ReadError: 0x281,
} as const;

export const RW_FUA = 1 << 30;
export const DSM_DEALLOCATE = 1 << 2;
export const DSM_RANGE_BYTES = 16;

/** Identify controller: offsets. */
export const IdCtrl = { Serial: 4, Model: 24, Mdts: 77, Namespaces: 516, Oncs: 520, Vwc: 525 } as const;
export const ONCS_DATASET = 1 << 2;
export const ONCS_WRITE_ZEROES = 1 << 3;
/** Identify namespace: offsets. */
export const IdNs = { Size: 0, Formats: 25, Formatted: 26, Format0: 128 } as const;

export const NVME_PAGE = 4096;
export const IDENTIFY_BYTES = 4096;
/** Entries of a PRP list in one page. */
export const PRPS_PER_PAGE = NVME_PAGE / 8;
/** PCI class: mass storage, non-volatile memory, NVM Express. */
export const NVME_CLASS = 0x010802;
