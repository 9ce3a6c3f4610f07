/** What `orrery demo` plays, in order. Each wing that has something to show adds a scene of a few seconds. */
import type { Command } from "commander";
import { addDemo } from "../cli/demo.ts";
import type { Scene } from "../cli/stage.ts";
import { crash } from "./crash.ts";
import { machine } from "./machine.ts";
import { memory } from "./memory.ts";
import { parallel } from "./parallel.ts";
import { policies } from "./policies.ts";

const SCENES: readonly Scene[] = [machine, parallel, policies, memory, crash];

export const register = (program: Command): void => addDemo(program, SCENES);
