// Draws the icons of the page into public: five seats around what they agree on.
// Run by hand when the mark changes: `node build/icons.mjs`.

import { writeFileSync } from "node:fs";
import { crc32, deflateSync } from "node:zlib";

const PAPER = [246, 244, 239];
const RED = [143, 31, 55];
const CIRCLES = [
  [16, 16, 4.2],
  [16, 4.8, 2.8],
  [26.7, 12.5, 2.8],
  [22.6, 25.1, 2.8],
  [9.4, 25.1, 2.8],
  [5.3, 12.5, 2.8],
];
const SAMPLES = 4;

function draw(size, scale, radius) {
  const pixels = Buffer.alloc(size * (size * 4 + 1));
  for (let y = 0; y < size; y += 1) {
    for (let x = 0; x < size; x += 1) {
      let [red, paper] = [0, 0];
      for (let s = 0; s < SAMPLES * SAMPLES; s += 1) {
        const px = x + ((s % SAMPLES) + 0.5) / SAMPLES;
        const py = y + (Math.floor(s / SAMPLES) + 0.5) / SAMPLES;
        const corner = [px, py].map((at) => Math.max(radius - at, at - (size - radius), 0));
        if (Math.hypot(...corner) <= radius) paper += 1;
        const [ux, uy] = [px, py].map((at) => ((at / size - 0.5) / scale) * 32 + 16);
        if (CIRCLES.some(([cx, cy, r]) => Math.hypot(ux - cx, uy - cy) <= r)) red += 1;
      }
      const all = SAMPLES * SAMPLES;
      const at = y * (size * 4 + 1) + 1 + x * 4;
      for (let c = 0; c < 3; c += 1) {
        pixels[at + c] = Math.round((RED[c] * red + PAPER[c] * (all - red)) / all);
      }
      pixels[at + 3] = Math.round((paper / all) * 255);
    }
  }
  return pixels;
}

function chunk(type, data) {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(data.length);
  head.write(type, 4);
  const end = Buffer.alloc(4);
  end.writeUInt32BE(crc32(Buffer.concat([Buffer.from(type), data])));
  return Buffer.concat([head, data, end]);
}

function png(size, scale, radius) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(size, 0);
  header.writeUInt32BE(size, 4);
  header.set([8, 6, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(draw(size, scale, radius), { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

const write = (name, bytes) => writeFileSync(new URL(`../public/${name}`, import.meta.url), bytes);
write("icon-192.png", png(192, 0.82, 40));
write("icon-512.png", png(512, 0.82, 104));
write("icon-maskable.png", png(512, 0.6, 0));
