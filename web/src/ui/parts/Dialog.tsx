// A dialog in front of the page. The browser keeps the focus inside and gives it back.

import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { strings } from "../../base/strings";
import { Icon } from "./Icon";

export function Dialog({
  title,
  onClose,
  children,
  bare = false,
}: {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  /** Without a visible title. */
  bare?: boolean;
}) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  // Before the next key is pressed, the focus is inside.
  useLayoutEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={bare ? "dialog dialog-bare" : "dialog"}
      {...(bare ? { "aria-label": title } : { "aria-labelledby": id })}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === element.current) onClose();
      }}
    >
      <div class="dialog-body">
        {!bare && (
          <header class="dialog-head">
            <h2 id={id}>{title}</h2>
            <button type="button" class="button-icon" aria-label={strings.close} onClick={onClose}>
              <Icon name="close" />
            </button>
          </header>
        )}
        {children}
      </div>
    </dialog>
  );
}
