// Stands in for the package `entities`: in a message, `&amp;` is what was typed.

export function decodeHTMLStrict(text: string): string {
  return text;
}
