/**
 * What the virtio-blk driver takes from the device's configuration. Read under one generation, then judged: a device may
 * say anything, so a value no driver could work with is an error at probe and never reaches the data path.
 */
import { EIO } from "../../kernel/abi/errno.ts";
import type { Errno } from "../../kernel/abi/units.ts";
import type { VirtioTransport } from "../../kernel/abi/virtio.ts";
import { BlkConfig, BlkFeature } from "./blk_format.ts";

/** Readings before a generation that keeps changing is called an error. */
const GENERATION_TRIES_MAX = 16;
/** Sectors whose byte addresses are exact numbers. */
const CAPACITY_MAX = 2 ** 44;
const BLOCK_SIZE_MAX = 4096;

export interface BlkSettings {
  sectors: number;
  logicalBlockSize: number;
  sizeMax: number;
  segMax: number;
  queues: number;
  writeback: boolean;
  discardSectors: number;
  writeZeroesSectors: number;
}

/** Fields of features that were not accepted are not there and get what their absence means. */
export function readBlkConfig(transport: VirtioTransport, features: bigint): BlkSettings | Errno {
  const has = (feature: bigint): boolean => (features & feature) !== 0n;
  const get = (feature: bigint, offset: number, width: 1 | 2 | 4, absent: number): number =>
    has(feature) ? transport.config(offset, width) : absent;
  for (let tries = 0; tries < GENERATION_TRIES_MAX; tries++) {
    const generation = transport.configGeneration();
    const settings: BlkSettings = {
      sectors: transport.config(BlkConfig.Capacity, 4) + transport.config(BlkConfig.Capacity + 4, 4) * 2 ** 32,
      logicalBlockSize: get(BlkFeature.BlkSize, BlkConfig.BlkSize, 4, 512),
      sizeMax: get(BlkFeature.SizeMax, BlkConfig.SizeMax, 4, 0xffffffff),
      segMax: get(BlkFeature.SegMax, BlkConfig.SegMax, 4, 1),
      queues: get(BlkFeature.Mq, BlkConfig.NumQueues, 2, 1),
      // 5.2.5.2: with FLUSH and without CONFIG_WCE there is a write-back cache.
      writeback: has(BlkFeature.ConfigWce) ? transport.config(BlkConfig.Writeback, 1) !== 0 : has(BlkFeature.Flush),
      discardSectors: get(BlkFeature.Discard, BlkConfig.MaxDiscardSectors, 4, 0),
      writeZeroesSectors: get(BlkFeature.WriteZeroes, BlkConfig.MaxWriteZeroesSectors, 4, 0),
    };
    if (transport.configGeneration() === generation) return judge(settings);
  }
  return EIO;
}

function judge(settings: BlkSettings): BlkSettings | Errno {
  const block = settings.logicalBlockSize;
  if (block < 512 || block > BLOCK_SIZE_MAX || (block & (block - 1)) !== 0) return EIO;
  if (settings.sectors > CAPACITY_MAX) return EIO;
  if (settings.sizeMax < block || settings.segMax === 0 || settings.queues === 0) return EIO;
  settings.sectors -= settings.sectors % (block / 512);
  return settings;
}
