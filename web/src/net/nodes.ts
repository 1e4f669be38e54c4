// The nodes of the cluster as this browser reaches them: one in use, the others as fallbacks.
//
// Calls go to the node in use. A caller that finds it dead says so with the node that it asked, and
// the next one is in use; a second report about the same node changes nothing.
//
// Always true: there is at least one node, and at most NODES_MAX.

/** Maximum number of nodes that are remembered. Further ones are left out. */
const NODES_MAX = 32;

export interface NodeAddress {
  /** Number of the node; 0 while it is not known. */
  readonly id: number;
  /** Base URL, without a slash at the end. */
  readonly url: string;
}

export class Nodes {
  #list: NodeAddress[];
  #used = 0;

  constructor(list: readonly NodeAddress[]) {
    if (list.length === 0) throw new RangeError("a page needs a node");
    this.#list = list.slice(0, NODES_MAX);
  }

  get list(): readonly NodeAddress[] {
    return this.#list;
  }

  get current(): NodeAddress {
    return this.#list[this.#used] as NodeAddress;
  }

  /** Puts the next node in use if `node` still is. Returns the node in use. */
  leave(node: NodeAddress): NodeAddress {
    if (this.current.url === node.url) this.#used = (this.#used + 1) % this.#list.length;
    return this.current;
  }

  /** Puts a node in use, because it works. */
  use(node: NodeAddress): void {
    const index = this.#list.findIndex(({ url }) => url === node.url);
    if (index >= 0) this.#used = index;
  }

  /** Replaces the list by what the cluster says; the node in use stays in use. */
  learn(list: readonly NodeAddress[]): void {
    const { current } = this;
    const known = list.filter(({ url }) => url !== current.url).slice(0, NODES_MAX - 1);
    const self = list.find(({ url }) => url === current.url) ?? current;
    this.#list = [self, ...known];
    this.#used = 0;
  }
}
