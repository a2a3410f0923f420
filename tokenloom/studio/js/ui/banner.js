/** What stands above the content while something is wrong. */
import { html } from "../lib.js";
import { t } from "../i18n.js";
import { trouble } from "../keep.js";
import { engine } from "../state.js";
import { Icon } from "./icons.js";

export function Banner() {
  const state = engine.value;
  const down = state === "offline" || state === "starting";
  const text = down ? t(`banner.${state}`) : trouble.value ? t(trouble.value) : "";
  return html`<div role="alert">
    ${text && html`<p class=${`banner ${down ? state : "warn"}`}><${Icon} name="warn" /><span>${text}</span></p>`}
  </div>`;
}
