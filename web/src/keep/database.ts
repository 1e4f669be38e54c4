// Keeps numbers and the outbox in IndexedDB, where all tabs share them and a reload finds them.
//
// Each method is one transaction; transactions that write run one after the other, over all tabs.

import type { Keep, Outgoing } from "./keep";
import { NUMBERS_AHEAD_MAX, OUTGOING_MAX } from "./keep";
import { memoryKeep } from "./memory";
import type { NumbersRecord } from "./records";
import { fresh, isLate, isNumbered, learned, oldest, restarted, taken } from "./records";

const NAME = "conclave";
const VERSION = 1;
/** Wait for the database to open. A browser that takes longer is one that does not. */
const OPEN_MS = 3000;

/** Opens the database; falls back to memory where the browser refuses one. */
export async function openKeep(factory: IDBFactory | undefined): Promise<Keep> {
  if (!factory) return memoryKeep();
  try {
    return databaseKeep(await open(factory));
  } catch {
    return memoryKeep();
  }
}

function open(factory: IDBFactory): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("the database does not open")), OPEN_MS);
    const request = factory.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("numbers", { keyPath: "session" });
      request.result.createObjectStore("outgoing", { keyPath: "id", autoIncrement: true });
    };
    request.onerror = () => reject(request.error ?? new Error("the database does not open"));
    request.onsuccess = () => {
      clearTimeout(timer);
      // A newer page in another tab may change the database.
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
  });
}

function databaseKeep(database: IDBDatabase): Keep {
  /** Runs `work` in one transaction; resolves once it is stored. */
  function run<T>(work: (stores: Stores) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(["numbers", "outgoing"], "readwrite");
      let result: T;
      transaction.oncomplete = () => resolve(result);
      transaction.onabort = () => reject(transaction.error ?? new Error("the browser stored nothing"));
      const stores = {
        numbers: transaction.objectStore("numbers"),
        outgoing: transaction.objectStore("outgoing"),
      };
      work(stores).then(
        (value) => (result = value),
        (error: unknown) => {
          reject(error);
          transaction.abort();
        },
      );
    });
  }

  async function of(outgoing: IDBObjectStore, account: number): Promise<Outgoing[]> {
    const all = await done<Outgoing[]>(outgoing.getAll());
    return all.filter((entry) => entry.account === account);
  }

  async function take({ numbers }: Stores, session: number, above: bigint) {
    const before = await done<NumbersRecord | undefined>(numbers.get(session));
    const { key, record } = taken(session, before, above);
    await done(numbers.put(record));
    return key;
  }

  async function number(stores: Stores, entry: Outgoing, session: number, above: bigint) {
    const numbered = { ...entry, session, key: await take(stores, session, above) };
    await done(stores.outgoing.put(numbered));
    return numbered;
  }

  return {
    learn: (session, last) =>
      run(async ({ numbers }) => {
        const before = await done<NumbersRecord | undefined>(numbers.get(session));
        await done(numbers.put(learned(session, before, last)));
      }),
    takeNumber: (session, above) =>
      run(async (stores) => {
        const first = oldest(await done<Outgoing[]>(stores.outgoing.getAll()), session);
        const before = await done<NumbersRecord | undefined>(stores.numbers.get(session));
        const next = before?.next ?? above + 1n;
        if (first !== null && next >= first + NUMBERS_AHEAD_MAX) return null;
        return take(stores, session, above);
      }),
    restart: (session, last) =>
      run(async ({ numbers }) => void (await done(numbers.put(restarted(session, last))))),
    addOutgoing: (message) =>
      run(async ({ outgoing }) => {
        if ((await of(outgoing, message.account)).length >= OUTGOING_MAX) return null;
        const entry = fresh(message);
        const id = (await done(outgoing.add(entry))) as number;
        return { ...entry, id };
      }),
    numberOutgoing: (id, session, above, refused) =>
      run(async (stores) => {
        const entry = await done<Outgoing | undefined>(stores.outgoing.get(id));
        if (!entry || isNumbered(entry, session, above, refused)) return entry ?? null;
        return number(stores, entry, session, above);
      }),
    refreshOutgoing: (id, session) =>
      run(async (stores) => {
        const entry = await done<Outgoing | undefined>(stores.outgoing.get(id));
        const record = await done<NumbersRecord | undefined>(stores.numbers.get(session));
        if (!entry || !isLate(entry, session, record)) return entry ?? null;
        return number(stores, entry, session, 0n);
      }),
    changeOutgoing: (id, change) =>
      run(async ({ outgoing }) => {
        const entry = await done<Outgoing | undefined>(outgoing.get(id));
        if (entry) await done(outgoing.put({ ...entry, ...change }));
      }),
    removeOutgoing: (id) => run(async ({ outgoing }) => void (await done(outgoing.delete(id)))),
    listOutgoing: (account) =>
      run(({ outgoing }) => of(outgoing, account)),
    forget: (account) =>
      run(async ({ outgoing }) => {
        for (const { id } of await of(outgoing, account)) await done(outgoing.delete(id));
      }),
  };
}

interface Stores {
  readonly numbers: IDBObjectStore;
  readonly outgoing: IDBObjectStore;
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("the browser refuses a request"));
  });
}
