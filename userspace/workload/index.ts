/** The workloads that come with the machine. */
import type { UserWorkload } from "../../kernel/abi/program.ts";
import { build } from "./build.ts";
import { database } from "./database.ts";
import { fileserver } from "./fileserver.ts";
import { mixed } from "./mixed.ts";
import { stream } from "./stream.ts";

export const WORKLOADS: readonly UserWorkload[] = [
  mixed({ hog: true }),
  mixed({ hog: false }),
  fileserver,
  build,
  database,
  stream,
];
