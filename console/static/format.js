// Numbers and times for people.

export function number(value, digits = null) {
  if (value === null || value === undefined) return "–";
  const decimals = digits ?? (Math.abs(value) >= 100 ? 0 : 1);
  const text = Math.abs(value).toLocaleString("en", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
  return value < 0 && /[1-9]/.test(text) ? `−${text}` : text;
}

export function withUnit(value, unit, places = null) {
  if (value === null || value === undefined) return "–";
  const digits = places ?? (unit === "Hz" ? 3 : null);
  return unit === "1" ? number(value, 0) : `${number(value, digits)} ${unit}`;
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`;
}

const two = (n) => String(n).padStart(2, "0");

export function utcTime(ms) {
  const t = new Date(ms);
  return `${two(t.getUTCHours())}:${two(t.getUTCMinutes())}:${two(t.getUTCSeconds())}`;
}

export function localTime(ms) {
  const t = new Date(ms);
  return `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
}

export function localDateTime(ms, now = Date.now()) {
  const t = new Date(ms);
  const today = new Date(now).toDateString() === t.toDateString();
  const date = `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())}`;
  return today ? localTime(ms) : `${date} ${localTime(ms)}`;
}

export function utcDateTime(ms) {
  return new Date(ms).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");
}

export function zone() {
  const minutes = -new Date().getTimezoneOffset();
  const sign = minutes < 0 ? "−" : "+";
  const hours = Math.floor(Math.abs(minutes) / 60);
  const rest = Math.abs(minutes) % 60;
  return `UTC${sign}${hours}${rest ? `:${two(rest)}` : ""}`;
}

export function age(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`;
}

export function words(label) {
  return label.replaceAll("_", " ");
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [amount, unit] = [value, 0];
  while (amount >= 1000 && unit < units.length - 1) {
    amount /= 1000;
    unit += 1;
  }
  return `${amount.toFixed(unit === 0 || amount >= 100 ? 0 : 1)} ${units[unit]}`;
}

export function signed(value, digits = null) {
  if (value === null || value === undefined) return "–";
  const text = number(value, digits);
  return value > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}
