/** The policies that come with the house, and the examples that users start from, under the one contract. */
import { policy as central } from "../../../examples/central.ts";
import { policy as las } from "../../../examples/las.ts";
import { policy as myFifo } from "../../../examples/my_fifo.ts";
import { policy as vtime } from "../../../examples/vtime.ts";
import { cfs, eevdf, fifo, rr } from "../../../sched/index.ts";
import { policyContract } from "../../contract/sched_policy.ts";

const MS = 1e6;
/** A turn ends at the first tick after its slice is over. */
const TICK_NS = 4 * MS;
const turns = (tasks: number, cpus: number, sliceNs: number): number =>
  Math.ceil(tasks / cpus) * (Math.ceil(sliceNs / TICK_NS) * TICK_NS + TICK_NS);
const roundRobinOf = (sliceNs: number) => ({
  waitNs: (tasks: number, cpus: number) => turns(tasks, cpus, sliceNs),
});

policyContract("fifo", fifo, {}, [
  { test: "every hog gets its turn within the promise", why: "who came first runs until it blocks" },
]);
policyContract("rr", rr, roundRobinOf(100 * MS));
policyContract("cfs", cfs, roundRobinOf(6 * MS * 3));
policyContract("eevdf", eevdf, roundRobinOf(0.7 * MS * 3));
policyContract("examples/my_fifo.ts", myFifo, roundRobinOf(20 * MS));
policyContract("examples/las.ts", las, roundRobinOf(8 * MS));
policyContract("examples/vtime.ts", vtime, roundRobinOf(20 * MS));
policyContract("examples/central.ts", central, { waitNs: (tasks, cpus) => turns(tasks + cpus, cpus, 20 * MS) }, [
  {
    test: "no CPU idles while a task waits",
    why: "a task handed to a CPU stays there, though another may come to idle",
  },
]);
