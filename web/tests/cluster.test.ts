// What the page of the cluster says of each node.

import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { clusterStrings as texts } from "../src/base/cluster";
import { GetClusterStatusResponseSchema, NodeRole } from "../src/gen/conclave/v1/admin_pb";
import { toView } from "../src/ui/cluster/view";

function problems(node: object): string[] {
  const nodes = [{ nodeId: 2n, role: NodeRole.FOLLOWER, reachable: true, ...node }];
  const view = toView(create(GetClusterStatusResponseSchema, { nodes }));
  return view.nodes.flatMap((each) => each.problems);
}

test("a node that is well has no problem, and each state that is not has its sentence", () => {
  expect(problems({})).toEqual([]);
  expect(problems({ draining: true })).toEqual([texts.draining]);
  expect(problems({ waits: true, unreached: true })).toEqual([texts.waits, texts.unreached]);
  expect(problems({ lowSpace: true, refusesGrowth: true })).toEqual([texts.refusesGrowth]);
  expect(problems({ differsAtIndex: 64n })).toEqual([texts.differs(64)]);
});

test("a node that does not answer says nothing of itself but why it is refused", () => {
  const gone = { reachable: false, draining: true, waits: true, refusal: "node 2 is superseded" };
  expect(problems(gone)).toEqual(["node 2 is superseded"]);
});
