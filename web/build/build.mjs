// Builds the page into dist: bundles, the service worker with its list of files, compressed copies.
//
// Always true: the same sources and packages give the same files; a first view that is larger than
// the budget fails the build.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "vite";

/** Bytes of the first view as a browser receives them. */
const FIRST_VIEW_MAX = 120 * 1024;
const COMPRESSED = /\.(html|js|css|json|webmanifest|svg)$/;

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = join(root, "dist");

function files(folder) {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => {
      const path = join(folder, name);
      return statSync(path).isDirectory() ? files(path) : [path];
    });
}

await build({ root, configFile: join(root, "vite.config.ts"), logLevel: "warn" });

const listed = files(dist).map((path) => `/${relative(dist, path)}`);
const version = createHash("sha256");
for (const path of files(dist)) version.update(relative(dist, path)).update(readFileSync(path));
const id = version.digest("hex").slice(0, 16);
const shell = listed.filter((path) => !/^\/(index\.html|icon-.*)$/.test(path));
const worker = readFileSync(join(root, "build/sw.js"), "utf8")
  .replace('"VERSION"', JSON.stringify(id))
  .replace('["FILES"]', JSON.stringify(["/", ...shell]));
writeFileSync(join(dist, "sw.js"), worker);

for (const path of files(dist)) {
  if (!COMPRESSED.test(path)) continue;
  const bytes = readFileSync(path);
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: 11,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
  };
  writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params }));
  const packed = gzipSync(bytes, { level: 9 });
  // The system that packed it is not part of the page.
  packed[9] = 255;
  writeFileSync(`${path}.gz`, packed);
}

const html = readFileSync(join(dist, "index.html"), "utf8");
const first = ["index.html", ...[...html.matchAll(/(?:src|href)="\/(assets\/[^"]+)"/g)].map((match) => match[1])];
let total = 0;
for (const path of first) {
  const size = statSync(join(dist, `${path}.br`)).size;
  total += size;
  console.log(`${String(size).padStart(8)}  ${path}`);
}
console.log(`${String(total).padStart(8)}  first view, compressed (budget ${FIRST_VIEW_MAX})`);
if (total > FIRST_VIEW_MAX) {
  console.error("error: the first view is larger than its budget");
  process.exit(1);
}
