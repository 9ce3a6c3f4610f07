import { expect, it } from "vitest";
import { policy } from "../../examples/evict_mru.ts";
import { minMisses, replay, syntheticTrace } from "../../mm/index.ts";
import { evictPolicyContract } from "../contract/evict_policy.ts";

evictPolicyContract(policy);

it("the example is worth its name: within a tenth of MIN on a loop", () => {
  const trace = syntheticTrace("loop", { size: 200, requests: 20_000, seed: 1, alpha: 1 });
  const bound = minMisses(trace.requests, trace.keys, 200);
  expect(replay(policy, trace, 200, 1).misses).toBeLessThan(bound * 1.1);
});
