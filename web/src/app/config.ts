// What a node says about its cluster, and where the page finds it when that node is dead.

import type { NodeAddress } from "../net/nodes";

export interface Config {
  readonly cluster: string;
  /** Identity of the page that this node serves; changes with every build. */
  readonly page: string;
  readonly registration: "open" | "invite" | "closed";
  readonly needsSetup: boolean;
  readonly nodes: readonly NodeAddress[];
  /** Origin of the program that runs a demonstration; empty for a cluster that is none. */
  readonly demo: string;
}

const KEPT = "conclave.config";
const WAIT_MS = 3000;

/** Returns the node that served the page, as the first of the list. */
export function ownNode(origin: string): NodeAddress {
  return { id: 0, url: origin };
}

/** Asks a node, or returns what is remembered. */
export async function readConfig(base: string, storage: Storage | null): Promise<Config> {
  try {
    const answer = await fetch(`${base}/page/config.json`, {
      headers: { "x-conclave-page": "1" },
      credentials: "include",
      cache: "no-store",
      signal: AbortSignal.timeout(WAIT_MS),
    });
    if (answer.ok) {
      const text = await answer.text();
      const config = parseConfig(text);
      try {
        storage?.setItem(KEPT, text);
      } catch {
        // Not remembered.
      }
      return config;
    }
  } catch {
    // The node is dead, or says something else.
  }
  try {
    return parseConfig(storage?.getItem(KEPT) ?? "{}");
  } catch {
    return parseConfig("{}");
  }
}

/** Reads the answer; everything that is missing or of another form is left out. */
export function parseConfig(text: string): Config {
  const value = JSON.parse(text) as Record<string, unknown>;
  const nodes = Array.isArray(value["nodes"]) ? (value["nodes"] as unknown[]) : [];
  const { cluster, registration } = value;
  return {
    // A cluster without a name tells its identifier, which says nothing to a person.
    cluster: typeof cluster === "string" && !/^[0-9a-f]{12}/.test(cluster) ? cluster : "",

    page: typeof value["page"] === "string" ? value["page"] : "",
    registration: registration === "invite" || registration === "closed" ? registration : "open",
    needsSetup: value["needs_setup"] === true,
    demo: typeof value["demo"] === "string" ? (baseUrl(value["demo"]) ?? "") : "",
    nodes: nodes.flatMap((node) => {
      const { node_id: id, url } = (node ?? {}) as Record<string, unknown>;
      const base = typeof url === "string" ? baseUrl(url) : null;
      return base ? [{ id: typeof id === "number" ? id : 0, url: base }] : [];
    }),
  };
}

function baseUrl(text: string): string | null {
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.origin : null;
  } catch {
    return null;
  }
}
