/**
 * Numbers in bytes, little-endian (`le`, ext4) and big-endian (`be`, jbd2), over a DataView: one machine load each.
 * A number of 64 bits is exact up to 2^53; above, it is rounded, never wrapped.
 */
export const le16 = (view: DataView, at: number): number => view.getUint16(at, true);
export const le32 = (view: DataView, at: number): number => view.getUint32(at, true);
export const le64 = (view: DataView, at: number): number =>
  view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
export const be16 = (view: DataView, at: number): number => view.getUint16(at);
export const be32 = (view: DataView, at: number): number => view.getUint32(at);
export const be64 = (view: DataView, at: number): number => view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4);

export const setLe16 = (view: DataView, at: number, value: number): void => view.setUint16(at, value, true);
export const setLe32 = (view: DataView, at: number, value: number): void => view.setUint32(at, value, true);
export const setBe16 = (view: DataView, at: number, value: number): void => view.setUint16(at, value);
export const setBe32 = (view: DataView, at: number, value: number): void => view.setUint32(at, value);
