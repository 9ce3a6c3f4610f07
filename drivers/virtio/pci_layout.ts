/** virtio over PCI (VirtIO 1.2, 4.1.4): vendor capabilities, and the registers of the common configuration. */
export const VIRTIO_VENDOR = 0x1af4;
/** Device id of a modern device: 0x1040 + device type. */
export const VIRTIO_PCI_ID = 0x1040;
export const VIRTIO_PCI_ID_MAX = 0x107f;
/** Device ids of transitional devices (4.1.2.1) -> device type. They have the modern capabilities too. */
export const VIRTIO_TRANSITIONAL: Readonly<Record<number, number>> = {
  0x1000: 1,
  0x1001: 2,
  0x1002: 5,
  0x1003: 3,
  0x1004: 8,
  0x1005: 4,
  0x1009: 9,
};

/** cfg_type of a vendor-specific capability. */
export const VirtioCap = { Common: 1, Notify: 2, Isr: 3, Device: 4, PciCfg: 5 } as const;

/** Within the capability: type at 3, BAR at 4, offset at 8, length at 12, notify_off_multiplier at 16. */
export const CAP_TYPE = 3;
export const CAP_BAR = 4;
export const CAP_OFFSET = 8;
export const CAP_LENGTH = 12;
export const CAP_MULTIPLIER = 16;

export const Common = {
  DeviceFeatureSelect: 0x00,
  DeviceFeature: 0x04,
  DriverFeatureSelect: 0x08,
  DriverFeature: 0x0c,
  ConfigMsixVector: 0x10,
  NumQueues: 0x12,
  DeviceStatus: 0x14,
  ConfigGeneration: 0x15,
  QueueSelect: 0x16,
  QueueSize: 0x18,
  QueueMsixVector: 0x1a,
  QueueEnable: 0x1c,
  QueueNotifyOff: 0x1e,
  QueueDesc: 0x20,
  QueueDriver: 0x28,
  QueueDevice: 0x30,
  QueueNotifyData: 0x38,
  QueueReset: 0x3a,
} as const;
export const COMMON_BYTES = 0x3c;
/** The part every device has; queue_notify_data and queue_reset came with 1.2. */
export const COMMON_BYTES_MIN = 0x38;
export const NO_VECTOR = 0xffff;
