// How long a room keeps its messages, for every member to see and for owners to set.

import { useState } from "preact/hooks";
import { readRooms } from "../../app/load";
import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
import type { Room } from "../../wire/values";
import { RoomRole } from "../../wire/values";
import { lengthOf } from "../parts/dates";
import { attempt } from "../parts/notices";

const DAY_MS = 86_400_000;
const AGES_MS = [1, 7, 30, 90, 365].map((days) => days * DAY_MS);
const NUMBERS = [1000, 10_000, 100_000];
/** The choice to set nothing: as the cluster. */
const CLUSTER = "";

export function Kept({ session, room }: { session: Session; room: Room }) {
  const [changing, setChanging] = useState(false);
  // A node of an earlier version says nothing.
  if (!room.kept) return null;
  if (changing) return <Form session={session} room={room} onClose={() => setChanging(false)} />;
  return (
    <div class="panel-topic">
      <p class="panel-kind">{sentence(room.kept.ageMs, room.kept.messages)}</p>
      {room.role === RoomRole.Owner && (
        <button type="button" class="button-quiet" onClick={() => setChanging(true)}>
          {strings.setKept}
        </button>
      )}
    </div>
  );
}

function Form({ session, room, onClose }: { session: Session; room: Room; onClose: () => void }) {
  const { actions, engine } = session;
  const [age, setAge] = useState(written(room.keptOwn.ageMs));
  const [number, setNumber] = useState(written(room.keptOwn.messages));
  const save = async () => {
    await actions.setRetention(room.name, read(age), read(number));
    // No event tells of it.
    await readRooms(engine.options);
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void attempt(save).then((done) => done && onClose());
      }}
    >
      <Choice label={strings.keptAge} value={age} of={AGES_MS} own={room.keptOwn.ageMs} name={lengthOf} onChoose={setAge} />
      <Choice label={strings.keptNumber} value={number} of={NUMBERS} own={room.keptOwn.messages} name={String} onChoose={setNumber} />
      <p class="panel-kind">{strings.keptLead}</p>
      <div class="buttons">
        <button type="button" class="button" onClick={onClose}>
          {strings.cancel}
        </button>
        <button type="submit" class="button button-main">
          {strings.save}
        </button>
      </div>
    </form>
  );
}

interface ChoiceProps {
  readonly label: string;
  readonly value: string;
  readonly of: readonly number[];
  /** What is set now: it can be chosen even if it is none of the usual values. */
  readonly own: number | null;
  readonly name: (value: number) => string;
  readonly onChoose: (value: string) => void;
}

function Choice({ label, value, of, own, name, onChoose }: ChoiceProps) {
  const values = own && !of.includes(own) ? [...of, own].sort((one, other) => one - other) : of;
  return (
    <label class="field">
      <span>{label}</span>
      <select class="input" value={value} onChange={(event) => onChoose(event.currentTarget.value)}>
        <option value={CLUSTER}>{strings.keptAsCluster}</option>
        {values.map((each) => (
          <option key={each} value={String(each)}>
            {name(each)}
          </option>
        ))}
        <option value="0">{strings.keptForever}</option>
      </select>
    </label>
  );
}

const written = (set: number | null) => (set === null ? CLUSTER : String(set));
const read = (chosen: string) => (chosen === CLUSTER ? null : Number(chosen));

/** Says what a room keeps; 0 is without a limit. */
export function sentence(ageMs: number, messages: number): string {
  if (ageMs > 0 && messages > 0) return strings.keptBoth(lengthOf(ageMs), messages);
  if (ageMs > 0) return strings.keptFor(lengthOf(ageMs));
  return messages > 0 ? strings.keptNewest(messages) : strings.keptAll;
}
