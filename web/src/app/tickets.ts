// Brings the session to nodes with other host names, whose cookies this page does not share.
//
// Always true: a node becomes a fallback only after it has answered with the session.

import type { Nodes } from "../net/nodes";
import { services, transportTo } from "../wire/services";
import type { Config } from "./config";

const WAIT_MS = 5000;
/** Nodes on other hosts that are asked. */
const TICKETS_MAX = 16;

const HEADERS = { "x-conclave-page": "1", "content-type": "application/json" };

interface Ticket {
  readonly node_id?: number;
  readonly url: string;
  readonly ticket: string;
}

/** Signs in at all other nodes of the cluster that this browser reaches. */
export async function shareSession(config: Config, nodes: Nodes): Promise<void> {
  const foreign = config.nodes.some(({ url }) => new URL(url).hostname !== location.hostname);
  if (!foreign) return;
  try {
    const answer = await fetch(`${nodes.current.url}/page/tickets`, {
      method: "POST",
      headers: HEADERS,
      credentials: "include",
      signal: AbortSignal.timeout(WAIT_MS),
    });
    if (!answer.ok) return;
    const { tickets } = (await answer.json()) as { tickets: Ticket[] };
    await Promise.all(tickets.slice(0, TICKETS_MAX).map((ticket) => use(ticket, nodes)));
  } catch {
    // These nodes are no fallbacks; those on this host are.
  }
}

async function use({ node_id: id = 0, url, ticket }: Ticket, nodes: Nodes): Promise<void> {
  try {
    if (!(await redeem(url, ticket))) return;
    const at = services(transportTo(url, 0));
    await at.sessions.getSession({}, { timeoutMs: WAIT_MS });
    if (nodes.list.every((node) => node.url !== url)) nodes.learn([...nodes.list, { id, url }]);
  } catch {
    // The browser keeps no cookie of that host.
  }
}

/** Signs in at the node that served this page with the ticket in its address. */
export async function redeemOwn(ticket: string): Promise<boolean> {
  return redeem(location.origin, ticket).catch(() => false);
}

async function redeem(url: string, ticket: string): Promise<boolean> {
  const answer = await fetch(`${url}/page/session`, {
    method: "POST",
    headers: HEADERS,
    credentials: "include",
    body: JSON.stringify({ ticket }),
    signal: AbortSignal.timeout(WAIT_MS),
  });
  return answer.ok;
}
