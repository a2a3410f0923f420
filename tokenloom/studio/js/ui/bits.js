/** Small parts that messages and results share: the figures of an answer, a button that copies. */
import { html, useEffect, useState } from "../lib.js";
import { number, t } from "../i18n.js";
import { say } from "../state.js";
import { Icon } from "./icons.js";

/** Tokens, tokens per second, time to the first piece: as the server counted and this page saw. */
export function Figures({ message }) {
  const { usage, timing } = message;
  const figures = [];
  if (usage?.completion !== undefined) {
    const values = { n: number(usage.completion), prompt: number(usage.prompt ?? 0) };
    figures.push([t("stats.tokens", values), t("stats.tokens.help", values)]);
  }
  if (timing?.rate !== undefined) figures.push([t("stats.rate", { n: number(timing.rate, 1) }), t("stats.rate.help")]);
  if (timing?.first !== undefined) {
    figures.push([t("stats.first", { n: number(timing.first / 1000, 2) }), t("stats.first.help")]);
  }
  if (message.seed) figures.push([t("stats.seed", { n: message.seed }), t("stats.seed.help")]);
  return html`<span class="figures">
    ${figures.map(([text, help]) => html`<span key=${help} class="figure" title=${help}>${text}</span>`)}
  </span>`;
}

/** Copies a text and says so. */
export function Copy({ text, label = t("message.copy") }) {
  const [done, setDone] = useState(false);
  useEffect(() => {
    if (!done) return undefined;
    const timer = setTimeout(() => setDone(false), 1600);
    return () => clearTimeout(timer);
  }, [done]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
    } catch (error) {
      // No clipboard without https or localhost (TypeError), or not allowed (NotAllowedError).
      if (!(error instanceof DOMException || error instanceof TypeError)) throw error;
      say(t("message.copyFailed"));
    }
  };
  const name = done ? t("message.copied") : label;
  return html`<button type="button" class="bare copy" aria-label=${name} title=${name} onClick=${copy}>
    <${Icon} name=${done ? "check" : "copy"} />
  </button>`;
}
