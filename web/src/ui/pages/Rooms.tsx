// All rooms that the account may see: to join, to open, and to make another one.

import { useEffect, useState } from "preact/hooks";
import { listRooms } from "../../app/load";
import { go } from "../../app/route";
import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
import { visible } from "../../text/visible";
import type { Room } from "../../wire/values";
import { Icon } from "../parts/Icon";
import { attempt } from "../parts/notices";
import { Page } from "./Page";

export function Rooms({ session }: { session: Session }) {
  const { store, actions, engine } = session;
  const [rooms, setRooms] = useState<readonly Room[] | null>(null);
  const [filter, setFilter] = useState("");
  const [name, setName] = useState("");
  const [topic, setTopic] = useState("");
  const [isPrivate, setPrivate] = useState(false);
  const own = store.rooms.value;
  useEffect(() => {
    const timer = setTimeout(() => {
      const pattern = filter.trim() ? `*${filter.trim().replace(/^#/, "")}*` : "";
      void attempt(async () => setRooms(await listRooms(engine.options, pattern)));
    }, rooms === null ? 0 : 200);
    return () => clearTimeout(timer);
  }, [filter, own]);
  const open = (id: number, roomName: string) => {
    store.set(id, { roomName });
    go({ view: "conversation", id, sequence: 0 });
  };
  return (
    <Page title={strings.rooms}>
      <label class="field">
        <span class="hidden">{strings.filterRooms}</span>
        <input class="input" type="search" placeholder={strings.filterRooms} value={filter} onInput={(event) => setFilter(event.currentTarget.value)} />
      </label>
      <ul class="rows">
        {rooms?.map((room) => (
          <li key={room.id}>
            <Icon name={room.public ? "hash" : "lock"} />
            <span class="rows-main">
              <b>{room.name}</b>
              <small dir="auto">
                {strings.memberCount(room.members)}
                {room.topic && ` · ${visible(room.topic)}`}
              </small>
            </span>
            {room.role > 0 ? (
              <button type="button" class="button" aria-label={`${strings.open} #${room.name}`} onClick={() => open(room.id, room.name)}>
                {strings.open}
              </button>
            ) : (
              <button
                type="button"
                class="button button-main"
                aria-label={`${strings.join} #${room.name}`}
                onClick={() => void attempt(async () => open(await actions.joinRoom(room.name), room.name))}
              >
                {strings.join}
              </button>
            )}
          </li>
        ))}
      </ul>
      {rooms?.length === 0 && <p class="page-lead">{strings.noRooms}</p>}
      <form
        class="card"
        onSubmit={(event) => {
          event.preventDefault();
          void attempt(async () => {
            const wanted = name.trim().replace(/^#/, "");
            open(await actions.createRoom(wanted, topic.trim(), isPrivate), wanted);
          });
        }}
      >
        <h2>{strings.createRoom}</h2>
        <div class="fields">
          <label class="field">
            <span>{strings.roomName}</span>
            <input class="input" required maxLength={33} value={name} onInput={(event) => setName(event.currentTarget.value)} />
          </label>
          <label class="field field-wide">
            <span>{strings.topic}</span>
            <input class="input" dir="auto" maxLength={256} value={topic} onInput={(event) => setTopic(event.currentTarget.value)} />
          </label>
        </div>
        <div class="buttons buttons-between">
          <label class="check">
            <input type="checkbox" checked={isPrivate} onChange={(event) => setPrivate(event.currentTarget.checked)} />
            <span>{strings.roomPrivate}</span>
          </label>
          <button type="submit" class="button button-main" disabled={!name.trim()}>
            {strings.create}
          </button>
        </div>
      </form>
    </Page>
  );
}
