// Who is writing in a conversation, for as long as it holds.

import { useEffect, useState } from "preact/hooks";
import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
import { clock } from "../../base/time";
import { visible } from "../../text/visible";

export function Typing({ session, id }: { session: Session; id: number }) {
  const { store } = session;
  const typists = store.typing.value.get(id) ?? [];
  const [now, setNow] = useState(() => clock.now());
  const end = Math.min(...typists.map(({ untilMs }) => untilMs).filter((until) => until > now));
  useEffect(() => {
    setNow(clock.now());
    if (!Number.isFinite(end)) return;
    const timer = setTimeout(() => setNow(clock.now()), Math.max(end - clock.now(), 0) + 50);
    return () => clearTimeout(timer);
  }, [end, typists]);
  const me = store.me.value?.name;
  const names = typists
    .filter(({ name, untilMs }) => untilMs > now && name !== me)
    .map(({ name }) => visible(store.displayName(name)));
  return <p class="typing">{names.length > 0 && <span>{strings.typing(names)}</span>}</p>;
}
