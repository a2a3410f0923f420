/** Conversations as files. What leaves as a file carries its label, visible and hidden (GB 45438-2025). */

export const LABEL = "AI-generated / 人工智能生成";

/**
 * The hidden label. The producer is the operator's to name; the project's name stands until one does.
 * @param {string} id of the work
 */
export function aigc(id) {
  const maker = "Tokenloom";
  return {
    Label: "1",
    ContentProducer: maker,
    ProduceID: id,
    ReservedCode1: "",
    ContentPropagator: maker,
    PropagateID: id,
    ReservedCode2: "",
  };
}

const frontMatter = (id, title) =>
  `---\ntitle: ${JSON.stringify(title)}\nAIGC: ${JSON.stringify(aigc(id))}\n---\n\n> ${LABEL}\n`;

/** @param {import("./store.js").Conversation} conversation @param {{user: string, assistant: string, system: string}} names */
export function toMarkdown(conversation, names) {
  const parts = [frontMatter(conversation.id, conversation.title), `# ${conversation.title}\n`];
  if (conversation.settings.system.trim()) {
    parts.push(`**${names.system}**\n\n${quote(conversation.settings.system)}\n`);
  }
  for (const message of conversation.messages) {
    if (message.role === "user") parts.push(`## ${names.user}\n\n${message.text}\n`);
    else {
      const model = message.model ? ` (${message.model})` : "";
      parts.push(`## ${names.assistant}${model}\n\n*${LABEL}*\n\n${message.text}\n`);
    }
  }
  return parts.join("\n");
}

const quote = (text) => text.replace(/^/gm, "> ");

/** One text, as a task makes it. */
export function textToMarkdown(id, title, text) {
  return `${frontMatter(id, title)}\n${text}\n`;
}

/** @param {import("./store.js").Conversation} conversation */
export function toJson(conversation) {
  return JSON.stringify({ AIGC: aigc(conversation.id), label: LABEL, ...conversation }, null, 2) + "\n";
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
