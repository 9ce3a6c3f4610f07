/**
 * How long a disk takes: service-time models in virtual time. A model is figures; its state is a Float64Array, so that a
 * machine with a disk can be saved and forked.
 *
 *   hdd      one head: seek (settle + square root of the distance), rotation to the sector, transfer at the track's rate
 *   ssd      some channels, a latency each for reads and writes, one link that all transfers share
 *
 * - serviceState(model)                                     the state at rest
 * - serviceEnd(model, state, nowNs, op, sector, sectors)    when a request taken now ends; moves the state on
 *
 * Figures are typical of the class of device, rounded; they are not a product's.
 */
import { BlockOp, SECTOR_SIZE } from "../../kernel/abi/block.ts";

export type ServiceModel = HddModel | SsdModel;

interface HddModel {
  readonly kind: "hdd";
  readonly rotationNs: number;
  readonly trackSectors: number;
  readonly settleNs: number;
  /** Longest seek, across all tracks. */
  readonly strokeNs: number;
  readonly tracks: number;
  /** Writes into the cache are this fast; reads and flushes go to the platter. */
  readonly cacheNs: number;
}

interface SsdModel {
  readonly kind: "ssd";
  readonly channels: number;
  readonly readNs: number;
  readonly writeNs: number;
  readonly flushNs: number;
  readonly discardNs: number;
  readonly linkBytesPerUs: number;
}

/** 7200 rpm: 8.33 ms a turn; about 1 MiB a track. */
export const HDD: ServiceModel = {
  kind: "hdd",
  rotationNs: 8_333_333,
  trackSectors: 2048,
  settleNs: 1_000_000,
  strokeNs: 16_000_000,
  tracks: 100_000,
  cacheNs: 100_000,
};
export const SATA_SSD: ServiceModel = {
  kind: "ssd",
  channels: 8,
  readNs: 90_000,
  writeNs: 35_000,
  flushNs: 600_000,
  discardNs: 200_000,
  linkBytesPerUs: 550,
};
export const NVME_SSD: ServiceModel = {
  kind: "ssd",
  channels: 32,
  readNs: 75_000,
  writeNs: 14_000,
  flushNs: 120_000,
  discardNs: 60_000,
  linkBytesPerUs: 3_500,
};

/** hdd: [busy until, track under the head, sectors in the cache]; ssd: [link busy until, channel busy until ...]. */
export function serviceState(model: ServiceModel): Float64Array {
  return new Float64Array(model.kind === "hdd" ? 3 : 1 + model.channels);
}

export function serviceEnd(
  model: ServiceModel,
  state: Float64Array,
  nowNs: number,
  op: BlockOp,
  sector: number,
  sectors: number,
): number {
  return model.kind === "hdd"
    ? hddEnd(model, state, nowNs, op, sector, sectors)
    : ssdEnd(model, state, nowNs, op, sector, sectors);
}

function hddEnd(
  model: HddModel,
  state: Float64Array,
  nowNs: number,
  op: BlockOp,
  sector: number,
  sectors: number,
): number {
  const start = Math.max(nowNs, state[0]!);
  let end = start + model.cacheNs;
  if (op === BlockOp.Write || op === BlockOp.WriteZeroes) state[2]! += sectors;
  else if (op === BlockOp.Flush) {
    // What is cached is written in one sweep: a stroke and the transfers.
    if (state[2]! > 0) end = start + model.strokeNs + (state[2]! / model.trackSectors) * model.rotationNs;
    state[2] = 0;
  } else if (op === BlockOp.Read) {
    const track = Math.floor(sector / model.trackSectors);
    const distance = Math.min(Math.abs(track - state[1]!) / model.tracks, 1);
    const seek = distance === 0 ? 0 : model.settleNs + (model.strokeNs - model.settleNs) * Math.sqrt(distance);
    const arrive = start + seek;
    const wanted = (sector % model.trackSectors) / model.trackSectors;
    const turn = (arrive / model.rotationNs) % 1;
    const wait = ((wanted - turn + 1) % 1) * model.rotationNs;
    end = arrive + wait + (sectors / model.trackSectors) * model.rotationNs;
    state[1] = Math.floor((sector + sectors - 1) / model.trackSectors);
  }
  state[0] = end;
  return end;
}

function ssdEnd(
  model: SsdModel,
  state: Float64Array,
  nowNs: number,
  op: BlockOp,
  sector: number,
  sectors: number,
): number {
  if (op === BlockOp.Flush) {
    // A flush waits for every channel.
    let start = nowNs;
    for (let i = 0; i < state.length; i++) start = Math.max(start, state[i]!);
    return start + model.flushNs;
  }
  const work = op === BlockOp.Read ? model.readNs : op === BlockOp.Write ? model.writeNs : model.discardNs;
  // Pages of 16 KiB lie on channels in turn; a request occupies the channel of its first.
  const channel = 1 + (Math.floor(sector / 32) % model.channels);
  const bytes = op === BlockOp.Read || op === BlockOp.Write ? sectors * SECTOR_SIZE : 0;
  const transferNs = (bytes / model.linkBytesPerUs) * 1_000;
  const worked = Math.max(nowNs, state[channel]!) + work;
  state[channel] = worked;
  const end = Math.max(worked, state[0]! + transferNs);
  if (bytes > 0) state[0] = end;
  return end;
}
