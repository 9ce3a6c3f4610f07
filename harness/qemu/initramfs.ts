/**
 * The guest's user space: busybox, the modules, and an init that turns the machine into a servant of the host.
 *
 * On the virtio-serial port `/dev/vport0p1` init says `ready`, then answers each line `ID COMMAND` with
 * `ID STATUS BASE64`, the output of the command (both streams), run in a subshell of its own. `/dev/vport0p2` carries
 * whatever a command writes there, as it is.
 */
import { readFileSync } from "node:fs";
import { execFileSync } from "node:child_process";
import { basename } from "node:path";
import { DIRECTORY, LINK, PROGRAM, cpio } from "./cpio.ts";
import type { CpioEntry } from "./cpio.ts";
import type { GuestFiles } from "./kernel_package.ts";
import { needTool } from "./packages.ts";

const FOLDERS = ["bin", "dev", "lib", "mnt", "proc", "sys", "tmp"];

/**
 * The port's file is there a moment before the port (ENXIO): `command` keeps an exec that fails from ending the shell. An
 * exec before the file is there would make one.
 */
const init = (modules: readonly string[]): string => `#!/bin/sh
export PATH=/bin HOME=/tmp
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in ${modules.join(" ")}; do insmod /lib/$module 2>/dev/null; done
tries=0
until [ -c /dev/vport0p1 ] && command exec 3<>/dev/vport0p1; do
  [ $tries -lt 3000 ] || exit 1
  sleep 0.02; tries=$((tries + 1))
done 2>/dev/null
echo ready >&3
while read -r id command <&3; do
  ( eval "$command" ) >/tmp/.output 2>&1 3<&- </dev/null
  status=$?
  { echo -n "$id $status "; base64 -w 0 /tmp/.output; echo; } >&3
done
poweroff -f
`;

export function initramfs(files: GuestFiles, more: readonly CpioEntry[] = []): Buffer {
  const busybox = needTool("busybox", "build the guest");
  const applets = execFileSync(busybox, ["--list"], { encoding: "utf8" })
    .split("\n")
    .filter((name) => name !== "" && name !== "busybox");
  const modules = files.modules.map((path) => ({ name: basename(path), data: readFileSync(path) }));
  return cpio([
    ...FOLDERS.map((path) => ({ path, mode: DIRECTORY })),
    { path: "init", mode: PROGRAM, data: Buffer.from(init(modules.map(({ name }) => name))) },
    { path: "bin/busybox", mode: PROGRAM, data: readFileSync(busybox) },
    ...applets.map((name) => ({ path: `bin/${name}`, mode: LINK, data: Buffer.from("busybox") })),
    ...modules.map(({ name, data }) => ({ path: `lib/${name}`, mode: PROGRAM, data })),
    ...more,
  ]);
}
