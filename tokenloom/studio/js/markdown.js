/**
 * Markdown from a model, shown safely. marked makes HTML, DOMPurify lets only what is listed through; HTML that the
 * model wrote itself is shown as text, and pictures become links, so that no other host is ever asked.
 */
import createDOMPurify from "../vendor/dompurify.js";
import { Marked } from "../vendor/marked.js";

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escape = (text) => text.replace(/[&<>"']/g, (char) => ESCAPES[char]);

const marked = new Marked({
  gfm: true,
  breaks: true,
  async: false,
  renderer: {
    html({ text }) {
      return escape(text);
    },
    image({ href, text }) {
      return `<a href="${escape(href)}">${escape(text || href)}</a>`;
    },
    checkbox({ checked }) {
      return checked ? "☑ " : "☐ ";
    },
  },
});

const purify = createDOMPurify(window);
purify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer nofollow");
});

const RULES = {
  ALLOWED_TAGS: (
    "a b strong i em del s code pre blockquote p br hr ul ol li h1 h2 h3 h4 h5 h6 table thead tbody tr th td sup sub"
  ).split(" "),
  ALLOWED_ATTR: ["href", "title", "align", "start"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
};

/**
 * @typedef {object} Block a part of the answer between blank lines
 * @property {string} raw its Markdown
 * @property {"code" | "html"} kind
 * @property {string} [text] code as it is
 * @property {string} [lang] the fence's word
 * @property {() => string} [html] safe HTML of the other kinds, made when it is shown
 */

/**
 * Cuts a growing text into blocks. What lies before the last two blocks does not change any more, so only the tail
 * is read again with each piece: long answers stay smooth.
 */
export class Blocks {
  #settled = [];
  #length = 0;
  #text = "";

  /** @param {string} text all of it @param {boolean} whole no more will come: read everything once more, exactly */
  of(text, whole = false) {
    text = text.replace(/\r\n?/g, "\n");
    if (whole || !text.startsWith(this.#text)) {
      this.#settled = [];
      this.#length = 0;
    }
    this.#text = text;
    const tail = marked.lexer(text.slice(this.#length));
    const links = tail.links;
    if (whole) return tail.filter(shown).map((token) => block(token, links));
    let keep = tail.length - 3;
    while (keep > 0 && !(tail[keep - 1].type === "space" || tail[keep - 1].raw.endsWith("\n"))) keep--;
    for (const token of tail.splice(0, Math.max(keep, 0))) {
      this.#length += token.raw.length;
      if (shown(token)) this.#settled.push(block(token, links));
    }
    return [...this.#settled, ...tail.filter(shown).map((token) => block(token, links))];
  }
}

const shown = (token) => token.type !== "space" && token.type !== "def";

/** @returns {Block} */
function block(token, links) {
  if (token.type === "code") {
    return { kind: "code", raw: token.raw, text: token.text, lang: (token.lang ?? "").split(/\s/, 1)[0] };
  }
  const tokens = Object.assign([token], { links });
  return { kind: "html", raw: token.raw, html: () => purify.sanitize(marked.parser(tokens), RULES) };
}

/** A whole text as safe HTML. */
export function toHtml(text) {
  return purify.sanitize(marked.parse(text), RULES);
}
