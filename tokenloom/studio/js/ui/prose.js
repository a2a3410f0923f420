/** An answer's text as blocks; only the block that grows is drawn again. */
import { html, useMemo, useRef } from "../lib.js";
import { t } from "../i18n.js";
import { Blocks } from "../markdown.js";
import { Copy } from "./bits.js";

/** @param {{text: string, whole: boolean}} props whole: no more will come */
export function Prose({ text, whole }) {
  const { thought, said } = useMemo(() => splitThought(text), [text]);
  return html`
    ${thought && html`<details class="thought"><summary>${t("message.thinking")}</summary><div>${thought}</div></details>`}
    <${Text} text=${said} whole=${whole} />
  `;
}

function Text({ text, whole }) {
  const reader = useRef(null);
  reader.current ??= new Blocks();
  const blocks = useMemo(() => reader.current.of(text, whole), [text, whole]);
  return html`<div class="prose" dir="auto">${blocks.map(draw)}</div>`;
}

/** Elements by block: a block that did not change gives the very element of before, which Preact leaves alone. */
const drawn = new WeakMap();

function draw(block, at) {
  let element = drawn.get(block);
  if (!element || element.key !== at) {
    element = html`<${block.kind === "code" ? Code : Rich} key=${at} block=${block} />`;
    drawn.set(block, element);
  }
  return element;
}

function Rich({ block }) {
  const safe = useMemo(() => ({ __html: block.html() }), [block.raw]);
  return html`<div class="block" dangerouslySetInnerHTML=${safe}></div>`;
}

function Code({ block }) {
  return html`<div class="block code">
    <div class="code-head"><span>${block.lang}</span><${Copy} text=${block.text} label=${t("code.copy")} /></div>
    <pre tabindex="0"><code>${block.text}</code></pre>
  </div>`;
}

/** Reasoning models write <think>...</think> first: it is folded away. */
function splitThought(text) {
  const start = /^\s*<think>\n?/.exec(text);
  if (!start) return { thought: "", said: text };
  const end = text.indexOf("</think>");
  if (end < 0) return { thought: text.slice(start[0].length), said: "" };
  return { thought: text.slice(start[0].length, end).trim(), said: text.slice(end + 8).trimStart() };
}
