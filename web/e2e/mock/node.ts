// One node of the mock: gRPC-Web and the page on one port, over the shared state.

import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createConnectRouter } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import type { ClusterState } from "./state";
import { routes } from "./services";

const TYPES: Record<string, string> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript",
  css: "text/css",
  svg: "image/svg+xml",
  png: "image/png",
  webmanifest: "application/manifest+json",
};
const PAGES = /^\/(c\/[^/]*(?:\/\d+)?|cluster|settings|admin|rooms|search|join)?$/;
const POLICY =
  "default-src 'self'; connect-src 'self' http://127.0.0.1:* http://*.chat.localhost:*; img-src 'self' data:; object-src 'none'; base-uri 'none'; " +
  "form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types conclave";

export class MockNode {
  #server: Server | undefined;
  port = 0;

  constructor(
    readonly id: number,
    private readonly state: ClusterState,
    private readonly dist: string,
    private readonly all: () => readonly MockNode[],
    /** Name by which browsers know the node. */
    private readonly host = "127.0.0.1",
  ) {}

  get url(): string {
    return `http://${this.host}:${this.port}`;
  }

  get alive(): boolean {
    return this.#server !== undefined;
  }

  start(port = this.port): Promise<void> {
    const router = createConnectRouter({ grpc: false, connect: false });
    routes(router, this.state, this.id, this.all);
    const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
    const server = createServer((request, response) => {
      this.#serve(handlers, request, response).catch(() => response.destroy());
    });
    this.#server = server;
    return new Promise((resolve) => {
      server.listen(port, "127.0.0.1", () => {
        this.port = (server.address() as { port: number }).port;
        resolve();
      });
    });
  }

  /** Ends like a process that is killed: all connections break at once. */
  kill(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
    this.#server = undefined;
  }

  async #serve(handlers: Map<string, UniversalHandler>, request: IncomingMessage, response: ServerResponse) {
    const url = new URL(request.url ?? "/", this.url);
    const origin = request.headers.origin;
    if (origin && this.all().some((node) => node.url === origin)) {
      response.setHeader("access-control-allow-origin", origin);
      response.setHeader("access-control-allow-credentials", "true");
      response.setHeader("access-control-allow-headers", "content-type, x-grpc-web, x-user-agent, grpc-timeout, x-conclave-page, x-conclave-session");
      response.setHeader("access-control-expose-headers", "grpc-status, grpc-message, grpc-status-details-bin");
      response.setHeader("access-control-max-age", "600");
    }
    if (request.method === "OPTIONS") return void response.writeHead(204).end();
    const handler = handlers.get(url.pathname);
    if (handler) return this.#call(handler, url, request, response);
    if (url.pathname === "/page/config.json") {
      const nodes = this.all().map((node) => ({ node_id: node.id, url: node.url }));
      const body = { cluster: "Harbour", node_id: this.id, page: "test", registration: "open", needs_setup: false, nodes };
      return void response.setHeader("content-type", "application/json").end(JSON.stringify(body));
    }
    if (url.pathname === "/page/tickets") return this.#tickets(request, response);
    if (url.pathname === "/page/session") return this.#session(request, response);
    const name = PAGES.test(url.pathname) ? "/index.html" : url.pathname;
    const file = join(this.dist, name);
    if (name.includes("..") || !existsSync(file)) return void response.writeHead(404).end();
    response.setHeader("content-type", TYPES[name.split(".").pop() ?? ""] ?? "application/octet-stream");
    response.setHeader("content-security-policy", POLICY);
    response.setHeader("cache-control", name.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "no-cache");
    if (existsSync(`${file}.br`) && String(request.headers["accept-encoding"]).includes("br")) {
      return void response.setHeader("content-encoding", "br").end(readFileSync(`${file}.br`));
    }
    response.end(readFileSync(file));
  }

  /** Gives a ticket for each node whose cookies the browser keeps apart. */
  #tickets(request: IncomingMessage, response: ServerResponse): void {
    const token = /conclave_session=([^;]+)/.exec(request.headers.cookie ?? "")?.[1];
    if (!token || !this.state.sessions.has(token)) return void response.writeHead(401).end();
    const tickets = this.all().filter((node) => node.host !== this.host && node.alive).map((node) => {
      const ticket = `ticket-${this.state.tickets.size + 1}`;
      this.state.tickets.set(ticket, { node: node.id, token });
      return { node_id: node.id, url: node.url, ticket };
    });
    response.setHeader("content-type", "application/json").end(JSON.stringify({ tickets, expires_in_ms: 60_000 }));
  }

  async #session(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    const { ticket } = JSON.parse(body) as { ticket: string };
    const known = this.state.tickets.get(ticket);
    if (known?.node !== this.id) return void response.writeHead(403).end();
    this.state.tickets.delete(ticket);
    response.setHeader("set-cookie", `conclave_session=${known.token}; HttpOnly; SameSite=Strict; Path=/`);
    response.writeHead(204).end();
  }

  async #call(handler: UniversalHandler, url: URL, request: IncomingMessage, response: ServerResponse) {
    const abort = new AbortController();
    response.on("close", () => abort.abort());
    const header = new Headers();
    for (const [name, value] of Object.entries(request.headers)) header.set(name, String(value));
    const answer = await handler({
      httpVersion: "1.1",
      url: url.href,
      method: "POST",
      header,
      body: request,
      signal: abort.signal,
      contextValues: undefined as never,
    });
    // The services hand the cookie on as a header of their own.
    for (const [name, value] of answer.header ?? []) response.setHeader(name, value);
    response.writeHead(answer.status);
    response.flushHeaders();
    if (answer.body) for await (const chunk of answer.body as AsyncIterable<Uint8Array>) response.write(chunk);
    response.end();
  }
}
