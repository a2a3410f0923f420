/** Conversations as files. What leaves as a file carries its label, visible and hidden (GB 45438-2025). */

/**
 * The hidden label. The producer is the operator's to name; the project's name stands until one does.
 * @param {string} id of the work
 * @param {string} [hash] of the content, as `loom verify` computes it
 */
export function aigc(id, hash = "") {
  const maker = "Tokenloom";
  return {
    Label: "1",
    ContentProducer: maker,
    ProduceID: id,
    ReservedCode1: hash,
    ContentPropagator: maker,
    PropagateID: id,
    ReservedCode2: "",
  };
}

/**
 * A value as the JSON whose hash stands in the label: no spaces, keys in order, ASCII, numbers as Python writes them.
 * @param {any} value parsed from JSON
 */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const keys = Object.keys(value).sort();
    return `{${keys.map((key) => `${canonical(key)}:${canonical(value[key])}`).join(",")}}`;
  }
  if (typeof value === "number") return decimal(value);
  const escaped = (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0");
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, escaped);
}

/** Small fractions have an exponent of two digits there, and earlier than here. */
function decimal(value) {
  if (Number.isInteger(value) || Math.abs(value) >= 1e-4) return String(value);
  return value.toExponential().replace(/e-(\d)$/, "e-0$1");
}

/** sha256 over the text's length (8 bytes, big-endian) and its UTF-8; "" where the browser has no crypto.subtle. */
async function contentHash(text) {
  if (!globalThis.crypto?.subtle) return "";
  const bytes = new TextEncoder().encode(text);
  const framed = new Uint8Array(8 + bytes.length);
  new DataView(framed.buffer).setBigUint64(0, BigInt(bytes.length));
  framed.set(bytes, 8);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", framed));
  return "sha256:" + Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A text as a labelled Markdown file. @param {string} label the visible words */
export async function textToMarkdown(id, title, text, label) {
  const body = `\n> ${label}\n\n${text}\n`;
  const hidden = JSON.stringify(aigc(id, await contentHash(body)));
  return `---\ntitle: ${JSON.stringify(title)}\nAIGC: ${hidden}\n---\n${body}`;
}

/**
 * @param {import("./store.js").Conversation} conversation
 * @param {{user: string, assistant: string, system: string, label: string}} names
 */
export function toMarkdown(conversation, names) {
  const parts = [`# ${conversation.title.replace(/\s+/g, " ")}`];
  const system = conversation.settings.system.trim();
  if (system) parts.push(`**${names.system}**`, system.replace(/^/gm, "> "));
  for (const message of conversation.messages) {
    if (message.role === "user") parts.push(`## ${names.user}`, message.text);
    else {
      const model = message.model ? ` (${message.model})` : "";
      parts.push(`## ${names.assistant}${model}`, `*${names.label}*`, message.text);
    }
  }
  return textToMarkdown(conversation.id, conversation.title, parts.join("\n\n"), names.label);
}

/**
 * @param {import("./store.js").Conversation} conversation
 * @param {string} label the visible words
 */
export async function toJson(conversation, label) {
  const rest = JSON.parse(JSON.stringify({ notice: label, ...conversation }));
  const hash = await contentHash(canonical(rest));
  return JSON.stringify({ AIGC: aigc(conversation.id, hash), ...rest }, null, 2) + "\n";
}

/** A file name that every system takes. */
export function fileName(title, ending) {
  const plain = title.replace(/[\\/:*?"<>|\s\u0000-\u001f]+/g, " ").replace(/^[. ]+/, "");
  const short = Array.from(plain).slice(0, 60).join("").replace(/[. ]+$/, "");
  return `${short || "chat"}.${ending}`;
}

/** Hands a text to the person as a file. */
export function download(name, text, type) {
  handOver(name, new Blob([text], { type: `${type};charset=utf-8` }));
}

/** Hands a file to the person. @param {string} name @param {Blob} file */
export function handOver(name, file) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
