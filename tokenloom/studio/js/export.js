/** Conversations as files. What leaves as a file carries its label, visible and hidden (GB 45438-2025). */

export const LABEL = "AI-generated / 人工智能生成";

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

/** A text as a labelled Markdown file. */
export async function textToMarkdown(id, title, text) {
  const body = `\n> ${LABEL}\n\n${text}\n`;
  const hidden = JSON.stringify(aigc(id, await contentHash(body)));
  return `---\ntitle: ${JSON.stringify(title)}\nAIGC: ${hidden}\n---\n${body}`;
}

/**
 * @param {import("./store.js").Conversation} conversation
 * @param {{user: string, assistant: string, system: string}} names
 */
export function toMarkdown(conversation, names) {
  const parts = [`# ${conversation.title.replace(/\s+/g, " ")}`];
  const system = conversation.settings.system.trim();
  if (system) parts.push(`**${names.system}**`, system.replace(/^/gm, "> "));
  for (const message of conversation.messages) {
    if (message.role === "user") parts.push(`## ${names.user}`, message.text);
    else {
      const model = message.model ? ` (${message.model})` : "";
      parts.push(`## ${names.assistant}${model}`, `*${LABEL}*`, message.text);
    }
  }
  return textToMarkdown(conversation.id, conversation.title, parts.join("\n\n"));
}

/** @param {import("./store.js").Conversation} conversation */
export function toJson(conversation) {
  return JSON.stringify({ AIGC: aigc(conversation.id), notice: LABEL, ...conversation }, null, 2) + "\n";
}

/** A file name that every system takes. */
export function fileName(title, ending) {
  const plain = title.replace(/[\\/:*?"<>|\s\u0000-\u001f]+/g, " ").replace(/^[. ]+/, "");
  const short = Array.from(plain).slice(0, 60).join("").replace(/[. ]+$/, "");
  return `${short || "chat"}.${ending}`;
}

/** Hands a file to the person. */
export function download(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
