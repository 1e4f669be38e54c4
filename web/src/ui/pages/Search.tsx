// Search through everything that the account may read; a result opens in its conversation.

import { useEffect, useRef, useState } from "preact/hooks";
import { go } from "../../app/route";
import type { Session } from "../../app/session";
import { strings } from "../../base/strings";
import { visible } from "../../text/visible";
import type { Message } from "../../wire/values";
import { query } from "../frame/open";
import { Avatar } from "../parts/Avatar";
import { dayName, timeOf } from "../parts/dates";
import { attempt } from "../parts/notices";
import { Page } from "./Page";

interface Found {
  readonly message: Message;
  readonly snippet: readonly { readonly text: string; readonly isMatch: boolean }[];
}

/** Short pages that are read on at once, until one has results. */
const EMPTY_PAGES_MAX = 5;

export function Search({ session }: { session: Session }) {
  const { store, actions } = session;
  const [answered, setFound] = useState<readonly Found[] | null>(null);
  const [next, setNext] = useState("");
  const asked = useRef("");
  const field = useRef<HTMLInputElement>(null);
  const found = answered?.filter(({ message }) => !store.isForgotten(message.conversation, message.sequence)) ?? null;
  const ask = async (text: string, token: string) => {
    asked.current = text;
    let [pageToken, page]: [string, readonly Found[]] = [token, []];
    for (let pages = 0; pages < EMPTY_PAGES_MAX && page.length === 0; pages += 1) {
      const answer = await actions.search(text, pageToken);
      if (asked.current !== text) return;
      page = answer.found;
      pageToken = answer.next;
      if (pageToken === "") break;
    }
    setFound(token ? [...(found ?? []), ...page] : page);
    setNext(pageToken);
  };
  useEffect(() => {
    field.current?.focus();
    if (query.value.trim()) void attempt(() => ask(query.value.trim(), ""));
  }, []);
  return (
    <Page title={strings.search}>
      <form
        role="search"
        class="inline-form"
        onSubmit={(event) => {
          event.preventDefault();
          const text = query.value.trim();
          if (text) void attempt(() => ask(text, ""));
        }}
      >
        <label class="field">
          <span class="hidden">{strings.search}</span>
          <input
            ref={field}
            class="input"
            type="search"
            dir="auto"
            placeholder={strings.searchHint}
            value={query.value}
            onInput={(event) => (query.value = event.currentTarget.value)}
          />
        </label>
        <button type="submit" class="button button-main">
          {strings.search}
        </button>
      </form>
      {found === null && <p class="page-lead">{strings.searchLead}</p>}
      {found?.length === 0 && <p class="page-lead" role="status">{strings.searchEmpty}</p>}
      {found && found.length > 0 && <p class="hidden" role="status">{strings.results(found.length)}</p>}
      <ul class="found">
        {found?.map(({ message, snippet }) => {
          const head = store.head(message.conversation)?.value;
          const where = head?.roomName ? `#${head.roomName}` : visible(store.displayName(head?.peerName ?? ""));
          return (
            <li key={`${message.conversation}/${message.sequence}`}>
              <a
                href={`/c/${message.conversation}/${message.sequence}`}
                onClick={(event) => {
                  event.preventDefault();
                  go({ view: "conversation", id: message.conversation, sequence: message.sequence });
                }}
              >
                <Avatar name={message.senderName} size="small" />
                <span class="found-main">
                  <span class="found-who">
                    <b>
                      <bdi>{visible(store.displayName(message.senderName)) || strings.deletedAccount}</bdi>
                    </b>
                    <span>{where}</span>
                    <time>
                      {dayName(message.sentAtMs)}, {timeOf(message.sentAtMs)}
                    </time>
                  </span>
                  <span class="found-text" dir="auto">
                    {snippet.length > 0
                      ? snippet.map(({ text, isMatch }, index) =>
                          isMatch ? <mark key={index}>{visible(text)}</mark> : visible(text),
                        )
                      : visible(message.text.slice(0, 200))}
                  </span>
                </span>
              </a>
            </li>
          );
        })}
      </ul>
      {next && (
        <button type="button" class="button" onClick={() => void attempt(() => ask(asked.current, next))}>
          {strings.searchMore}
        </button>
      )}
    </Page>
  );
}
