/**
 * What runs the guest's instructions: QEMU's own translator (tcg, everywhere) or the host's virtualisation (kvm), which
 * on some hosts exists, runs a BIOS, and hangs in Linux. So tcg is the default, and `auto` takes kvm only after a whole
 * guest has booted on it, once in a process.
 */
export const ACCELS = ["tcg", "kvm", "auto"] as const;
export type Accel = (typeof ACCELS)[number];

/** A guest on a kvm that works is up within a second. */
export const KVM_PROBE_MS = 5_000;

let kvmBoots: Promise<boolean> | undefined;

/** `boots` says whether a guest without a disk comes up on kvm. */
export async function chosenAccel(accel: Accel, boots: () => Promise<boolean>): Promise<"tcg" | "kvm"> {
  if (accel !== "auto") return accel;
  kvmBoots ??= boots();
  return (await kvmBoots) ? "kvm" : "tcg";
}

export const accelArgs = (accel: "tcg" | "kvm"): string[] =>
  accel === "kvm" ? ["-accel", "kvm"] : ["-accel", "tcg,thread=multi"];
