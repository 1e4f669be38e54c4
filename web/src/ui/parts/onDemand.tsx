// Parts of the page that are read when they are first shown.
//
// The node that served the page may be dead, or have a newer page with other files.
//
// Always true: a part that could not be read says so, and is read again when it is next shown.
// Chromium gives a failed import the same answer until the page is reloaded, so that is offered, too.

import type { ComponentChildren, ComponentType, FunctionComponent } from "preact";
import { useEffect, useState } from "preact/hooks";
import { strings } from "../../base/strings";

type Frame = (content: ComponentChildren) => ComponentChildren;

/** Returns a component that reads itself; `frame` stands around what is shown until then. */
export function onDemand<Props extends object>(
  read: () => Promise<ComponentType<Props>>,
  frame: Frame = (content) => content,
): FunctionComponent<Props> {
  const part = partOf(read);
  return function OnDemand(props) {
    const [, setReady] = useState(part.known !== null);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
      if (part.known) return;
      let shown = true;
      part.read().then(
        () => shown && setReady(true),
        () => shown && setFailed(true),
      );
      return () => (shown = false);
    }, []);
    const Part = part.known;
    if (Part) return <Part {...props} />;
    return (
      <>
        {frame(
          failed ? (
            <p class="page-lead" role="alert">
              {strings.partFailed}{" "}
              <button type="button" class="button-quiet" onClick={() => location.reload()}>
                {strings.reload}
              </button>
            </p>
          ) : (
            <p class="page-lead">{strings.loading}</p>
          ),
        )}
      </>
    );
  };
}

/** Returns a reader that keeps what was read, and reads again after a failure. */
export function partOf<Part>(read: () => Promise<Part>) {
  const part = {
    known: null as Part | null,
    read: async (): Promise<void> => {
      part.known ??= await read();
    },
  };
  return part;
}
