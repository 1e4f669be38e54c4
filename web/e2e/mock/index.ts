// Starts a mock cluster with a story in it.

import { MockNode } from "./node";
import { ClusterState } from "./state";

export { OPERATOR } from "./services";

export interface MockCluster {
  readonly state: ClusterState;
  readonly nodes: readonly MockNode[];
  stop(): void;
}

/** Starts nodes; `hostOf` gives each the name by which browsers know it. */
export async function startMock(dist: string, count = 5, hostOf?: (id: number) => string): Promise<MockCluster> {
  const state = new ClusterState();
  const nodes: MockNode[] = [];
  for (let id = 1; id <= count; id += 1) nodes.push(new MockNode(id, state, dist, () => nodes, hostOf?.(id)));
  for (const node of nodes) await node.start();
  return { state, nodes, stop: () => nodes.forEach((node) => node.alive && node.kill()) };
}

/** Fills the cluster with people who talk. */
export function tell(state: ClusterState): void {
  const [alice, bruno, chiara, dev, emi] = ["alice", "bruno", "chiara", "dev.ops", "emi"].map((name) =>
    state.addPerson(name, "password", name === "alice"),
  ) as [ReturnType<ClusterState["addPerson"]>, ReturnType<ClusterState["addPerson"]>, ReturnType<ClusterState["addPerson"]>, ReturnType<ClusterState["addPerson"]>, ReturnType<ClusterState["addPerson"]>];
  bruno.displayName = "Bruno Keller";
  chiara.displayName = "Chiara";
  emi.displayName = "えみ";
  const everyone = [alice, bruno, chiara, dev, emi];
  const lobby = state.addPlace("lobby", everyone, "Everything that has no room of its own");
  const ship = state.addPlace("shipping", [bruno, alice, chiara], "Release 0.2: what is left");
  state.addPlace("incidents", [dev, alice], "Only while something burns", true);
  state.addPlace("kitchen", [chiara, emi], "Lunch at 12:30");
  const day = 86_400_000;
  const at = (daysAgo: number, minute: number) => {
    const date = new Date(Date.now() - daysAgo * day);
    date.setHours(9, minute, 0, 0);
    return date.getTime();
  };
  const say = (place: typeof lobby, who: typeof alice, text: string, daysAgo: number, minute: number, replyTo = 0) =>
    state.post(place, who, text, { atMs: at(daysAgo, minute), replyTo });
  say(lobby, chiara, "Good morning! The new page is up on all five nodes :tada:", 1, 2);
  say(lobby, bruno, "It feels quick. I pulled the plug of node 3 while typing and nothing happened.", 1, 4);
  say(lobby, bruno, "I mean *nothing*. The sentence was still there.", 1, 4);
  const plug = say(lobby, alice, "That is the idea. What does the banner say?", 1, 6);
  say(lobby, bruno, "> Back on node 4 after 180 ms · 2 messages caught up · 1 queued sent · nothing lost", 1, 7, plug.sequence);
  say(lobby, emi, "すごい! 🎉", 1, 9).reactions.set("🎉", new Set([1, 2, 3]));
  say(lobby, dev, "Steps for the next machine:\n1. `conclave token create`\n2. paste the command there\n3. wait until it votes\n\n```sh\nconclave serve --join 10.0.0.1:7401 --token CNC1…\n```", 0, 15);
  const last = say(lobby, chiara, "@alice could you look at https://example.org/releases/0.2?draft=1 before lunch?", 0, 31);
  last.reactions.set("👀", new Set([2]));
  say(lobby, chiara, "No hurry, **but** today would be good. See #shipping.", 0, 32);
  for (let n = 1; n <= 24; n += 1) say(ship, n % 3 ? bruno : chiara, `Point ${n} of the list is done${n % 5 ? "." : ", with a test that fails without it."}`, 0, 10 + n);
  ship.read.set(alice.id, 20);
  lobby.read.set(alice.id, 7);
  const direct = state.direct(alice, bruno);
  say(direct, alice, "Do you have five minutes?", 0, 5);
  say(direct, bruno, "Sure, after the stand-up.", 0, 6);
  say(direct, alice, "Thanks 🙏", 0, 7);
  direct.read.set(alice.id, 3);
  direct.read.set(bruno.id, 3);
  state.direct(alice, emi);
  const note = state.direct(alice, alice);
  say(note, alice, "Renew the certificate on Friday", 2, 40);
  note.read.set(alice.id, 1);
}
