// Leaves out of a text what a page must not show: controls, marks of direction that reach beyond
// their own text, and characters that cannot be seen.
//
// Joiners stay, because emoji and several scripts need them. The stored text is not changed.
//
// Always true: what is returned cannot change the direction of what stands beside it, as long as
// its element isolates it (`dir=auto`).

/** Controls other than tab and line feed, overrides and embeddings, fillers, annotations. */
const HIDDEN =
  // eslint-disable-next-line no-control-regex, no-misleading-character-class
  /[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180E\u200B\u200E\u200F\u2028-\u202E\u2060-\u206F\u2800\u3164\uFEFF\uFFA0\uFFF0-\uFFFB]/gu;
/** Marks upon one letter beyond the eighth: they cover other lines. */
const MARKS = /(\p{M}{8})\p{M}+/gu;
/** Tags spell text that nothing shows, except behind the black flag, where they name a region. */
const TAGS = /(\u{1F3F4}[\u{E0020}-\u{E007F}]+)|[\u{E0000}-\u{E007F}]/gu;
const VARIANTS = /[\u{E0100}-\u{E01EF}]/gu;

export function visible(text: string): string {
  return text
    .replace(/\r\n?/g, "\n")
    .replace(HIDDEN, "")
    .replace(MARKS, "$1")
    .replace(TAGS, (_, flag: string | undefined) => flag ?? "")
    .replace(VARIANTS, "")
    .toWellFormed();
}
