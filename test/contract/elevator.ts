/** The contract of an Elevator: call it for each, the house's and a user's own. */
import { expect, it } from "vitest";
import { checkElevator } from "../../harness/blk/elevator_check.ts";
import type { Elevator } from "../../kernel/abi/elevator.ts";

export function elevatorContract(elevator: Elevator, seeds = 60, steps = 1200): void {
  it(`${elevator.name}: dispatches every request once, in bounded time`, () => {
    for (let seed = 1; seed <= seeds; seed++)
      expect(checkElevator(elevator, seed, steps), `seed ${seed}`).toBeUndefined();
  });
}
