// How the page is built and tested.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const noEntities = fileURLToPath(new URL("build/no-entities.ts", import.meta.url));

export default defineConfig({
  // The parser of Markdown knows the names of 2000 characters in HTML; messages are not HTML.
  resolve: { alias: { entities: noEntities } },
  // Every browser that is given has these: modules, `:has`, CSS nesting are not assumed beyond it.
  build: {
    target: ["chrome111", "firefox121", "safari16.4"],
    outDir: "dist",
    emptyOutDir: true,
    // No helper that would need another policy than 'self'.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    sourcemap: false,
    reportCompressedSize: false,
  },
  server: { proxy: { "/conclave.v1": "http://127.0.0.1:7400", "/page": "http://127.0.0.1:7400" } },
  test: {
    include: ["tests/**/*.test.{ts,tsx}"],
    setupFiles: ["tests/warnings.mjs"],
    environment: "node",
    restoreMocks: true,
  },
});
