// What a text is made of, once it is understood. There is no node that carries markup.

export type Node =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "break" }
  | { readonly kind: "bold" | "italic" | "strike" | "quote" | "paragraph"; readonly children: readonly Node[] }
  | { readonly kind: "code"; readonly text: string }
  | { readonly kind: "block"; readonly language: string; readonly text: string }
  | { readonly kind: "list"; readonly start: number | null; readonly items: readonly (readonly Node[])[] }
  | { readonly kind: "link"; readonly href: string; readonly children: readonly Node[] }
  /** `@name` or `#name` as it was written; whether there is one, only the store knows. */
  | { readonly kind: "account" | "room"; readonly written: string }
  /** `:name:` as it was written. */
  | { readonly kind: "emoji"; readonly name: string };
