// Jumps to a room or a person by a few letters of its name.

import { useEffect, useRef, useState } from "preact/hooks";
import type { Route } from "../../app/route";
import { go } from "../../app/route";
import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
import { visible } from "../../text/visible";
import { Avatar } from "../parts/Avatar";
import { Dialog } from "../parts/Dialog";
import { Icon } from "../parts/Icon";
import { drawer, switcher } from "./open";
import { fit } from "./order";

interface Target {
  readonly key: string;
  readonly name: string;
  readonly hint: string;
  readonly room: boolean;
  readonly unread: number;
  readonly activeAtMs: number;
  readonly rank: number;
  readonly to: Route;
}

const TARGETS_MAX = 12;

export function Switcher({ session }: { session: Session }) {
  const [typed, setTyped] = useState("");
  const [chosen, setChosen] = useState(0);
  const list = useRef<HTMLUListElement>(null);
  const found = targets(session, typed.replace(/^[@#]/, "").trim());
  useEffect(() => session.engine.lookAround(), []);
  useEffect(() => {
    list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }, [chosen]);
  const close = () => (switcher.value = false);
  const choose = (target: Target | undefined) => {
    if (!target) return;
    close();
    drawer.value = false;
    go(target.to);
  };
  const press = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: found.length - 1 }[event.key];
    if (step !== undefined && found.length > 0) {
      event.preventDefault();
      setChosen((chosen + step) % found.length);
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      choose(found[chosen]);
    }
  };
  return (
    <Dialog title={strings.jumpTo} onClose={close} bare>
      <div class="switcher">
        <input
          class="input switcher-input"
          role="combobox"
          aria-expanded="true"
          aria-controls="targets"
          aria-activedescendant={found[chosen] ? `target-${chosen}` : undefined}
          aria-label={strings.switcherHint}
          placeholder={strings.switcherHint}
          autocomplete="off"
          autofocus
          value={typed}
          onInput={(event) => {
            setTyped(event.currentTarget.value);
            setChosen(0);
          }}
          onKeyDown={press}
        />
        <ul class="targets" id="targets" role="listbox" aria-label={strings.conversations} ref={list}>
          {found.map((target, index) => (
            <li
              key={target.key}
              id={`target-${index}`}
              role="option"
              aria-selected={index === chosen}
              class="target"
              onClick={() => choose(target)}
              onPointerMove={() => setChosen(index)}
            >
              {target.room ? (
                <span class="entry-sign">
                  <Icon name="hash" small />
                </span>
              ) : (
                <Avatar name={target.hint.replace(/^@/, "") || target.name} size="small" />
              )}
              <bdi>{target.name}</bdi>
              <small>{target.hint}</small>
              {target.unread > 0 && <span class="count">{target.unread}</span>}
            </li>
          ))}
        </ul>
        {found.length === 0 && <p class="switcher-empty">{strings.switcherEmpty}</p>}
      </div>
    </Dialog>
  );
}

function targets({ store }: Session, typed: string): Target[] {
  const found: Target[] = [];
  const me = store.me.value?.name.toLowerCase();
  const people = new Set<string>();
  const add = (target: Omit<Target, "rank">, ...names: string[]) => {
    const ranks = names.flatMap((name) => fit(name, typed) ?? []);
    if (ranks.length > 0) found.push({ ...target, rank: Math.min(...ranks) });
  };
  for (const id of store.ids.value) {
    const head = store.head(id)?.value;
    if (!head) continue;
    const { roomName, peerName, unread, activeAtMs } = head;
    const to: Route = { view: "conversation", id, sequence: 0 };
    const common = { key: String(id), unread, activeAtMs, to };
    if (roomName) add({ ...common, name: roomName, hint: visible(head.topic), room: true }, roomName);
    else if (peerName) {
      people.add(peerName.toLowerCase());
      const name = peerName.toLowerCase() === me ? strings.noteToSelf : visible(store.displayName(peerName));
      add({ ...common, name, hint: `@${peerName}`, room: false }, peerName, name);
    }
  }
  for (const account of store.accounts.value.values()) {
    if (people.has(account.name.toLowerCase())) continue;
    const name = account.name.toLowerCase() === me ? strings.noteToSelf : visible(account.displayName) || account.name;
    const to: Route = { view: "person", name: account.name };
    add({ key: `@${account.name}`, name, hint: `@${account.name}`, room: false, unread: 0, activeAtMs: 0, to }, account.name, name);
  }
  return found
    .sort((one, other) =>
      typed === ""
        ? Number(other.unread > 0) - Number(one.unread > 0) || other.activeAtMs - one.activeAtMs
        : one.rank - other.rank || other.activeAtMs - one.activeAtMs,
    )
    .slice(0, TARGETS_MAX);
}
