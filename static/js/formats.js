// Numbers as people say them: the same rules as trainer/formats.py, held together by one shared test.

export const ABSENT = "–";
const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

// Ties go to the even digit, as Python rounds; toFixed alone would round them up.
function fixed(value, digits) {
  const long = Math.abs(value).toFixed(digits + 30);
  const tail = long.slice(-30);
  const cut = long.slice(0, -30).replace(/\.$/, "");
  const tie = /^50*$/.test(tail);
  const even = tie && Number(cut.at(-1)) % 2 === 0;
  const text = even ? cut : Math.abs(value).toFixed(digits);
  return value < 0 ? `-${text}` : text;
}

function grouped(value) {
  return fixed(value, 0).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

// Python's %g: so many significant digits, without trailing zeros.
function general(value, digits) {
  if (value === 0) return "0";
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  const bare = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  if (power < -4 || power >= digits) {
    const size = String(Math.abs(power)).padStart(2, "0");
    return `${bare(mantissa)}e${power < 0 ? "-" : "+"}${size}`;
  }
  return bare(fixed(value, digits - 1 - power));
}

// So many significant digits, zeros too: figures in a column keep their width.
function significant(value, digits) {
  const power = Number(value.toExponential(digits - 1).split("e")[1]);
  return fixed(value, Math.max(0, digits - 1 - power));
}

export function count(number) {
  if (number == null) return ABSENT;
  const size = Math.abs(number);
  if (size < 10_000) return grouped(number);
  if (size < 999_500) return `${general(number / 1e3, 3)} k`;
  if (size < 999_500_000) return `${general(number / 1e6, 3)} M`;
  return `${general(number / 1e9, 3)} B`;
}

export function loss(value) {
  return value == null ? ABSENT : fixed(value, 4);
}

export function perplexity(value) {
  if (value == null) return ABSENT;
  if (value >= 99_999.5) return count(value);
  return value >= 999.5 ? grouped(value) : significant(value, 4);
}

export function learningRate(value) {
  return value == null ? ABSENT : general(value, 3);
}

export function speed(tokensPerSecond) {
  return tokensPerSecond == null ? ABSENT : `${grouped(tokensPerSecond)} tok/s`;
}

export function size(bytes) {
  if (bytes == null) return ABSENT;
  let amount = bytes;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (Math.abs(amount) < 1023.95) return `${fixed(amount, unit === "B" ? 0 : 1)} ${unit}`;
    amount /= 1024;
  }
  return `${fixed(amount, 1)} TiB`;
}

export function duration(seconds) {
  if (seconds == null) return ABSENT;
  const whole = Math.max(0, Number(fixed(seconds, 0)));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return pair(whole, 60, "min", whole < 600 ? "s" : "");
  if (whole < 86_400) return pair(Math.floor(whole / 60), 60, "h", "min");
  return pair(Math.floor(whole / 3600), 24, "d", "h");
}

// What an event tells, its exact seconds as people say them; the log keeps the exact ones.
export function eventWords(message) {
  return message.replace(/\b(\d+\.\d{3}) s\b/g, (_, seconds) => (seconds < 1 ? "less than a second" : duration(Number(seconds))));
}

function pair(amount, factor, unit, smaller) {
  const rest = amount % factor;
  const large = `${Math.floor(amount / factor)} ${unit}`;
  return rest && smaller ? `${large} ${rest} ${smaller}` : large;
}

// Hours, minutes and seconds, for columns of times.
export function clock(seconds) {
  const whole = Number(fixed(seconds, 0));
  const digits = (amount) => String(amount % 60).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${digits(Math.floor(whole / 60))}:${digits(whole)}`;
}

export function timeLeft(seconds) {
  return seconds == null ? ABSENT : `${duration(seconds)} left`;
}

export function plural(number, noun) {
  return `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;
}

export function ordinal(number) {
  const teens = number % 100 > 10 && number % 100 < 20;
  return grouped(number) + (teens ? "th" : { 1: "st", 2: "nd", 3: "rd" }[number % 10] ?? "th");
}

export function countdown(seconds) {
  if (seconds == null) return "";
  return seconds <= 0 ? "being killed: its deadline has passed" : `killed in ${duration(seconds)} unless it ends before`;
}

export function countdownShort(seconds) {
  return seconds <= 0 ? "being killed" : `killed in ${duration(seconds)} at the latest`;
}

// A file by its last part, a data set as it is.
export function dataset(name) {
  if (name == null) return ABSENT;
  const isPath = /^(\.{0,2}|~)\/|^.:\\/.test(name);
  return isPath ? name.replaceAll("\\", "/").replace(/\/+$/, "").split("/").at(-1) : name;
}

export function silence(seconds) {
  return seconds == null ? "" : `no word for ${duration(seconds)}; the process lives (very busy, or it hangs)`;
}

export function paused(pid) {
  return pid == null ? "" : `paused by kill -STOP; kill -CONT ${pid} lets it go on`;
}

export function ageSeconds(stamp, at = Date.now()) {
  return Math.max(0, (at - Date.parse(stamp)) / 1000);
}

export function age(stamp, at = Date.now()) {
  if (stamp == null) return ABSENT;
  const seconds = ageSeconds(stamp, at);
  if (seconds < 2) return "just now";
  for (const [limit, factor, unit] of [[60, 1, "s"], [3600, 60, "min"], [86_400, 3600, "h"]]) {
    if (seconds < limit) return `${Math.floor(seconds / factor)} ${unit} ago`;
  }
  if (seconds < 30 * 86_400) return `${Math.floor(seconds / 86_400)} d ago`;
  const then = new Date(stamp);
  return `${then.getUTCDate()} ${MONTHS[then.getUTCMonth()]} ${then.getUTCFullYear()}`;
}

export function percent(part, whole) {
  if (part == null || !whole) return null;
  return Math.min(100, Math.max(0, (100 * part) / whole));
}

// The setting that turns mixed precision off leaves the ordinary 32 bits.
export function precision(value) {
  return value === "off" ? "fp32" : String(value ?? "");
}

// By the name that a live node carries in data-format.
export const FORMATS = {
  count,
  dataset,
  duration,
  learning_rate: learningRate,
  loss,
  name: (value) => value || ABSENT,
  perplexity,
  precision,
  size,
  speed,
  text: (value) => String(value ?? ""),
};

export { fixed, general, grouped, significant };
