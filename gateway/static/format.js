// Numbers and times as text. English like the page; all times are UTC.

export function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  const digits = size === 0 || size >= 1 ? { minimumFractionDigits: 2, maximumFractionDigits: 2 } : { maximumSignificantDigits: 4 };
  return new Intl.NumberFormat("en-GB", digits).format(value);
}

export const percent = (share, digits = 1) =>
  `${new Intl.NumberFormat("en-GB", { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(100 * share)}\u00a0%`;

export const count = (value) => new Intl.NumberFormat("en-GB").format(value);

export const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

/** Return the day, and the minute for steps shorter than a day. */
export function time(text, freq = "1d") {
  if (!text) return "–";
  const day = { weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC" };
  const isIntraday = /(min|h)$/.test(freq);
  const moment = new Intl.DateTimeFormat("en-GB", isIntraday ? { ...day, hour: "2-digit", minute: "2-digit" } : day).format(new Date(text));
  return isIntraday ? `${moment} UTC` : moment;
}

/** Return a time in parts, so that a narrow table can leave some out: `["Wed, ", "3 Dec", " 2025"]`. */
export function timeParts(text, freq) {
  const whole = time(text, freq);
  const day = /\d+ \w+/.exec(whole);
  return day ? [whole.slice(0, day.index), day[0], whole.slice(day.index + day[0].length)] : ["", whole, ""];
}

/** Return a length of time in one unit. */
export function duration(seconds) {
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${count(Math.round(seconds / 86400))} days`;
}

export function ago(text, now = Date.now()) {
  return `${duration(Math.max(0, Math.round((now - Date.parse(text)) / 1000)))} ago`;
}

/** Return the level pairs of a step, widest last: `[{level: 80, lower, upper}, ...]`. */
export function bands(quantiles) {
  const entries = Object.entries(quantiles).map(([probability, value]) => [Number(probability), value]);
  const found = [];
  for (const [probability, lower] of entries) {
    const partner = entries.find(([other]) => Math.abs(other - (1 - probability)) < 1e-9);
    if (probability < 0.5 && partner) found.push({ level: Math.round((1 - 2 * probability) * 1e6) / 1e4, lower, upper: partner[1] });
  }
  return found.sort((one, other) => one.level - other.level);
}
