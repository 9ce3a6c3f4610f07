/** The elevators of the house, by name. */
import type { Elevator } from "../../../kernel/abi/elevator.ts";
import { deadline } from "./deadline.ts";
import { fair } from "./fair.ts";
import { kyber } from "./kyber.ts";
import { none } from "./none.ts";

export const ELEVATORS: readonly Elevator[] = [none, deadline, fair, kyber];
