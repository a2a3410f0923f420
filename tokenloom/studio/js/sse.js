/**
 * Server-sent events, parsed from pieces of text that may be cut anywhere.
 * Not an EventSource: that cannot POST. Source: the HTML standard, section 9.2.6 (interpreting an event stream).
 */

/** Holds what is left of the stream between pieces. */
export class SseParser {
  #line = "";
  #data = [];
  #first = true;
  #afterReturn = false;

  /**
   * @param {string} text the next piece
   * @returns {string[]} the data of the events this piece completes
   */
  push(text) {
    const events = [];
    for (const char of this.#clean(text).split(/(\r\n|\r|\n)/)) {
      if (char === "\r\n" || char === "\r" || char === "\n") {
        const event = this.#end(this.#line);
        this.#line = "";
        if (event !== null) events.push(event);
      } else {
        this.#line += char;
      }
    }
    return events;
  }

  /** Drops a byte order mark at the start, and the "\n" of a "\r\n" that was cut in two. */
  #clean(text) {
    if (text === "") return text;
    if (this.#first && text.charCodeAt(0) === 0xfeff) text = text.slice(1);
    this.#first = false;
    if (this.#afterReturn && text.startsWith("\n")) text = text.slice(1);
    if (text !== "") this.#afterReturn = text.endsWith("\r");
    else this.#afterReturn = false;
    return text;
  }

  /** @returns {string | null} an event's data when an empty line ends it */
  #end(line) {
    if (line === "") {
      if (this.#data.length === 0) return null;
      const data = this.#data.join("\n");
      this.#data = [];
      return data;
    }
    if (line.startsWith(":")) return null;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "data") this.#data.push(value);
    return null;
  }
}

/**
 * The events of a response body, as strings.
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<string>}
 */
export async function* events(body) {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let ended = false;
  try {
    while (!ended) {
      const { value, done } = await reader.read();
      ended = done;
      yield* parser.push(done ? decoder.decode() : decoder.decode(value, { stream: true }));
    }
  } finally {
    if (!ended) await reader.cancel().catch(() => undefined);
  }
}
