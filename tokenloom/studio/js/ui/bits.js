/** Small parts that several places use. */
import { html, useEffect, useState } from "../lib.js";
import { number, t } from "../i18n.js";
import { locked, menuOpen, models, narrow, say } from "../state.js";
import { Icon } from "./icons.js";

/** Opens the sidebar, where it is a drawer. */
export function MenuButton() {
  if (!narrow.value) return null;
  return html`<button type="button" class="bare" aria-label=${t("nav.open")} onClick=${() => (menuOpen.value = true)}>
    <${Icon} name="menu" />
  </button>`;
}

/** What to do where no model does what a page is for. @param {{text: string, command: string, more: string}} props */
export function Lacking({ text, command, more }) {
  if (models.value === null) return html`<p class="lead">${t("model.loading")}</p>`;
  if (locked.value) return html`<p class="lead">${t("error.auth")}</p>`;
  return html`<div class="lacking">
    <p>${text}</p>
    <p><code>${command}</code></p>
    <p class="lead">${more}</p>
  </div>`;
}

/** Says that something happens, and for how long. @param {{run: {started: number}, text: string}} props */
export function Progress({ run, text }) {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => setSeconds((performance.now() - run.started) / 1000), 200);
    return () => clearInterval(timer);
  }, [run]);
  return html`<span class="progress">
    ${text}
    <span class="figure">${t("stats.elapsed", { n: number(Math.floor(seconds)) })}</span>
  </span>`;
}

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
