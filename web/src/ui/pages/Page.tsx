// A page beside the conversations: a head with a title, and a body that scrolls.

import type { ComponentChildren } from "preact";
import { strings } from "../../base/strings";
import { drawer } from "../frame/open";
import { Icon } from "../parts/Icon";

export function Page({
  title,
  lead,
  wide = false,
  children,
}: {
  title: string;
  lead?: string;
  wide?: boolean;
  children: ComponentChildren;
}) {
  return (
    <div class="talk">
      <header class="talk-head">
        <button type="button" class="button-icon only-narrow" aria-label={strings.openMenu} onClick={() => (drawer.value = true)}>
          <Icon name="menu" />
        </button>
        <div class="talk-title">
          <h1>{title}</h1>
          {lead && <p>{lead}</p>}
        </div>
      </header>
      <div class="page-scroll" tabIndex={0} role="group" aria-label={title}>
        <div class={wide ? "page page-wide" : "page"}>{children}</div>
      </div>
    </div>
  );
}
