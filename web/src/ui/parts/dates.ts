// Dates as the reader's language writes them, in the reader's zone.

import { strings } from "../../base/strings";
import { dayOf } from "../../state/rows";

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_OF_YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const SHORT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const DAY_MS = 86_400_000;

export const timeOf = (ms: number) => TIME.format(ms);
/** Returns the time without what tells morning from evening: for a narrow place beside other times. */
export const shortTime = (ms: number) =>
  TIME.formatToParts(ms).filter(({ type }) => type !== "dayPeriod").map(({ value }) => value).join("").trim();
export const fullDate = (ms: number) => FULL.format(ms);
export const shortDate = (ms: number) => SHORT.format(ms);

export function dayName(ms: number): string {
  const now = Date.now();
  if (dayOf(ms) === dayOf(now)) return strings.today;
  if (dayOf(ms) === dayOf(now - DAY_MS)) return strings.yesterday;
  return new Date(ms).getFullYear() === new Date(now).getFullYear() ? DAY.format(ms) : DAY_OF_YEAR.format(ms);
}

const UNITS = [
  [DAY_MS, "day"],
  [3_600_000, "hour"],
  [60_000, "minute"],
] as const;

/** Returns a length of time in words: in the greatest unit of which it is a whole number. */
export function lengthOf(ms: number): string {
  const [unit, name] = UNITS.find(([each]) => ms % each === 0) ?? [1000, "second"];
  const count = Math.round(ms / unit);
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}

/** Returns a length of time in its greatest unit. */
export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

export function bytes(count: number): string {
  if (count >= 2 ** 40) return `${(count / 2 ** 40).toFixed(1)} TiB`;
  if (count >= 2 ** 30) return `${(count / 2 ** 30).toFixed(1)} GiB`;
  return `${Math.round(count / 2 ** 20)} MiB`;
}
