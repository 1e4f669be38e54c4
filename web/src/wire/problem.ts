// Failures of one attempt, read from what the transport throws.
//
// A node explains itself with google.rpc.ErrorInfo; what comes without it (a broken connection, a
// proxy) says nothing about the outcome.

import { BinaryReader } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";

export type Failure =
  | {
      readonly kind: "problem";
      readonly reason: string;
      readonly sentence: string;
      readonly waitMs: number;
      /** Greatest request number of the session, if this request's number is wrong. */
      readonly requestLast: bigint | null;
    }
  /** The connection broke, or a program that is no node answered. */
  | { readonly kind: "lost"; readonly sentence: string }
  /** The node did not answer in time. */
  | { readonly kind: "silent" };

/** Refusal or failure of a whole call, for people. */
export class CallError extends Error {
  constructor(
    /** Reason as the protocol lists it, `UNREACHABLE`, `UNKNOWN` or `MESSAGE_WAITS`. */
    readonly reason: string,
    sentence: string,
    readonly waitMs = 0,
    /**
     * Whether the time was up before a node had decided: the same request may be made again. It was
     * certainly not executed, unless the reason is `OUTCOME_UNKNOWN`.
     */
    readonly undecided = false,
  ) {
    super(sentence);
    this.name = "CallError";
  }
}

export function toFailure(error: unknown): Failure {
  const status = ConnectError.from(error);
  for (const detail of status.details) {
    if (!("type" in detail) || !("value" in detail)) continue;
    if (!(detail.value instanceof Uint8Array) || detail.type !== "google.rpc.ErrorInfo") continue;
    const info = readErrorInfo(detail.value);
    if (info.domain !== "conclave") continue;
    const last = info.metadata.get("request_last");
    return {
      kind: "problem",
      reason: info.reason,
      sentence: status.rawMessage,
      waitMs: readWait(status),
      requestLast: last !== undefined && /^\d{1,20}$/.test(last) ? BigInt(last) : null,
    };
  }
  switch (status.code) {
    case Code.Canceled:
    case Code.DeadlineExceeded:
      return { kind: "silent" };
    // gRPC itself refuses the call: the same call is refused again.
    case Code.Unimplemented:
    case Code.OutOfRange: {
      const sentence = status.rawMessage || "The node does not know this request.";
      return { kind: "problem", reason: "UNSUPPORTED", sentence, waitMs: 0, requestLast: null };
    }
    default:
      return { kind: "lost", sentence: status.rawMessage };
  }
}

function readWait(status: ConnectError): number {
  for (const detail of status.details) {
    if ("type" in detail && detail.type === "google.rpc.RetryInfo" && "value" in detail) {
      if (detail.value instanceof Uint8Array) return readRetryInfo(detail.value);
    }
  }
  return 0;
}

interface ErrorInfo {
  reason: string;
  domain: string;
  metadata: Map<string, string>;
}

/** Reads google.rpc.ErrorInfo: reason = 1, domain = 2, metadata = 3. */
function readErrorInfo(bytes: Uint8Array): ErrorInfo {
  const info: ErrorInfo = { reason: "", domain: "", metadata: new Map() };
  fields(bytes, (field, reader) => {
    if (field === 1) info.reason = reader.string();
    else if (field === 2) info.domain = reader.string();
    else if (field === 3) {
      let [key, value] = ["", ""];
      fields(reader.bytes(), (part, entry) => {
        if (part === 1) key = entry.string();
        else if (part === 2) value = entry.string();
        else return false;
        return true;
      });
      info.metadata.set(key, value);
    } else return false;
    return true;
  });
  return info;
}

/** Reads google.rpc.RetryInfo: retry_delay = 1, a Duration of seconds = 1 and nanos = 2. */
function readRetryInfo(bytes: Uint8Array): number {
  let ms = 0;
  fields(bytes, (field, reader) => {
    if (field !== 1) return false;
    fields(reader.bytes(), (part, duration) => {
      if (part === 1) ms += Number(duration.int64()) * 1000;
      else if (part === 2) ms += duration.int32() / 1_000_000;
      else return false;
      return true;
    });
    return true;
  });
  // A node never asks for more than an hour; a longer wait is not believed.
  return Math.min(Math.max(ms, 0), 3_600_000);
}

function fields(bytes: Uint8Array, read: (field: number, reader: BinaryReader) => boolean) {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (!read(field, reader)) reader.skip(wireType, field);
  }
}
