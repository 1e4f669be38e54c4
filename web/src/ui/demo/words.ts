// The sentences of the panel, which only a demonstration loads.

import type { Act, DemoNode } from "./control";

export const words = {
  title: "Break it",
  lead: "Everything here is real: signals to processes, connections that carry nothing, a slow disk, a wrong clock.",
  heal: "Heal all",
  sent: "sent",
  acked: "acknowledged",
  waiting: "waiting",
  lost: "lost",
  twice: "twice",
  load: "Load",
  rate: (rate: number) => `${rate} per second`,
  rateLabel: "Messages per second",
  latency: "Latency",
  latencyNow: (ms: string, perSecond: number) => `${ms} · ${perSecond} per second`,
  latencyLabel: (ms: string) => `Longest latency of the last second: ${ms}`,
  keys: { worst: "longest, also of those that wait", median: "median", pause: "nothing acknowledged" },
  events: "What happened",
  noEvents: "Nothing yet. Kill a node.",
  gone: "The demo has ended, or this page was loaded before it began. Its terminal has the verdict.",
  signing: "Opening the panel…",
  noMajority: (down: number, nodes: number) => `${down} of ${nodes} down: no majority. Sending waits, and nothing is lost.`,
  tolerates: (more: number) =>
    more === 0 ? "One more failure takes the majority: sending would wait." : `${more} more ${more === 1 ? "failure" : "failures"} may happen.`,
  full: "The record of this show is full: sending has ended. Ctrl-C in its terminal checks everything.",
  node: (node: number) => `Node ${node}`,
  leader: "leader",
  acts: {
    kill: "Kill",
    start: "Start",
    pause: "Pause",
    resume: "Resume",
    "cut-off": "Cut off",
    join: "Reconnect",
    slow: "Slow disk",
    fast: "Fast disk",
    skew: "Clock +1h",
    "set-right": "Set clock",
  } satisfies Record<Act, string>,
  state(node: DemoNode): string {
    if (node.process !== "running") return node.process;
    const faults = [node.cut_off && "cut off", node.slow && "slow disk", node.skewed && "wrong clock"].filter(Boolean);
    return faults.length > 0 ? faults.join(", ") : node.leader ? "leader" : "running";
  },
};
