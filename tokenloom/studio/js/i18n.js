/** Which language the page speaks, and how it says things. The sentences themselves are in i18n/. */
import en from "./i18n/en.js";
import zh from "./i18n/zh.js";
import { signal, effect } from "./lib.js";
import { keep } from "./keep.js";

const SENTENCES = { en, zh };

/** "en" or "zh"; early.js has set <html lang> by choice or browser before this runs. */
export const lang = signal(document.documentElement.lang.startsWith("zh") ? "zh" : "en");

effect(() => {
  document.documentElement.lang = lang.value === "zh" ? "zh-CN" : "en";
});

/** @param {"en" | "zh"} to */
export function speak(to) {
  lang.value = to;
  keep("tokenloom.lang", to);
}

/**
 * The sentence of a key in the present language; a component that calls it follows a change of language.
 * @param {string} key
 * @param {Record<string, string | number>} [values] fill the {name} marks
 * @param {"en" | "zh"} [tongue] another language than the present one
 */
export function t(key, values = {}, tongue = lang.value) {
  const sentence = SENTENCES[tongue][key];
  if (sentence === undefined) throw new RangeError(`no sentence for ${key} in ${tongue}`);
  return sentence.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** A declaration's text in both languages: the present one, or the other where it is missing. */
export function pick(text) {
  if (typeof text === "string") return text;
  return text?.[lang.value] ?? text?.en ?? text?.zh ?? "";
}

/** @param {number} value @param {number} [digits] after the point, at most */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(lang.value === "zh" ? "zh-CN" : "en", { maximumFractionDigits: digits }).format(value);
}
