/** PCI configuration space (PCI Local Bus 3.0, 6.1, 6.7, 6.8.2), as both drivers and our simulated functions use it. */
export const CONFIG_BYTES = 256;

export const Cfg = {
  VendorId: 0x00,
  DeviceId: 0x02,
  Command: 0x04,
  Status: 0x06,
  RevisionId: 0x08,
  ClassCode: 0x09,
  HeaderType: 0x0e,
  Bar0: 0x10,
  SubsystemVendorId: 0x2c,
  SubsystemId: 0x2e,
  Capabilities: 0x34,
  InterruptLine: 0x3c,
  InterruptPin: 0x3d,
  HeaderEnd: 0x40,
} as const;

export const COMMAND_MEMORY = 1 << 1;
export const COMMAND_BUS_MASTER = 1 << 2;
export const STATUS_INTERRUPT = 1 << 3;
export const STATUS_CAPABILITIES = 1 << 4;

export const Cap = { Vendor: 0x09, Msix: 0x11 } as const;

/** MSI-X: control at +2, table offset and BAR at +4, pending bits at +8; 16 bytes an entry, mask in bit 0 of the last word. */
export const MSIX_CONTROL_ENABLE = 1 << 15;
export const MSIX_CONTROL_MASK_ALL = 1 << 14;
export const MSIX_CONTROL_SIZE_MASK = 0x7ff;
export const MSIX_ENTRY_BYTES = 16;
