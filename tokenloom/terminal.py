"""`loom chat` in the terminal: a conversation with commands. Not the page, and not the one-off `loom write`.

Ctrl-C stops the answer and keeps what was written; Ctrl-D or /exit ends the program. What was typed is kept
in memory only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from tokenloom.api import Generation, Model

HELP = """\
Type a message and press Enter. More than one line: end a line with \\ , or put it between lines of \"\"\".
Ctrl-C stops the answer, Ctrl-D leaves.

  /system TEXT    sets the system message (no TEXT: shows it; - removes it) and starts anew
  /retry          answers the last message again, with another seed
  /undo           takes the last message and its answer back
  /clear          forgets the conversation, keeps the system message
  /set            shows the sampling; /set temperature 0.2 changes it
  /save FILE      writes the conversation, labelled as AI-generated (.md, .txt or .json)
  /stats          tokens and speed of the last answer
  /help, /exit"""

Settable: dict[str, tuple[Callable[[str], float], float, float]] = {
    "temperature": (float, 0, 2),
    "top_p": (float, 0.01, 1),
    "top_k": (int, 0, 1_000_000),
    "min_p": (float, 0, 1),
    "repetition_penalty": (float, 0.1, 10),
    "max_tokens": (int, 1, 1_000_000),
    "seed": (int, 0, 2**53),
}
"""What /set changes: its type, its least and its greatest value."""
ENDINGS = (".md", ".markdown", ".txt", ".json")


@dataclass
class Chat:
    """The state of a conversation."""

    model: Model
    console: Console
    options: dict[str, Any]
    system: str | None = None
    messages: list[dict[str, str]] = field(default_factory=list)
    last: Generation | None = None

    def prompt(self) -> list[dict[str, str]]:
        head = [] if self.system is None else [{"role": "system", "content": self.system}]
        return head + self.messages

    # --- answering ------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Adds a message and streams the answer to it."""
        self.messages.append({"role": "user", "content": text})
        if not self.answer():
            self.messages.pop()

    def answer(self, **changes: Any) -> bool:
        """Streams an answer to the conversation; False if none came. Ctrl-C keeps what is there."""
        said: list[str] = []
        try:
            for piece in self.model.stream(self.prompt(), **{**self.options, **changes}):
                said.append(piece.text)
                self.console.out(piece.text, end="", highlight=False)
                self.last = piece.result or self.last
        except KeyboardInterrupt:
            self.console.print("\n[dim](stopped)[/dim]", end="")
        except ValueError as error:
            self.console.print(str(error), style="red", markup=False, highlight=False)
            if "tokens" in str(error):
                self._note("/undo or /clear makes room")
            return False
        self.console.print()
        if not "".join(said).strip():
            self.console.print("[dim](no answer; /retry asks again)[/dim]")
        self.messages.append({"role": "assistant", "content": "".join(said)})
        return True

    # --- commands -------------------------------------------------------------------------------------------

    def command(self, line: str) -> bool:
        """Runs a line that starts with /; False when the program should end."""
        name, _, rest = line[1:].partition(" ")
        if name in ("exit", "quit", "bye"):
            return False
        known: dict[str, Callable[[str], None]] = {
            "help": lambda _: self.console.print(HELP, markup=False, highlight=False),
            "system": self._system,
            "retry": self._retry,
            "undo": self._undo,
            "clear": self._clear,
            "set": self._set,
            "save": self._save,
            "stats": self._stats,
        }
        if name not in known:
            self._note(f"there is no /{name}; known are " + ", ".join(f"/{k}" for k in (*known, "exit")))
            return True
        known[name](rest.strip())
        return True

    def _note(self, text: str) -> None:
        self.console.print(text, style="dim", markup=False, highlight=False)

    def _system(self, rest: str) -> None:
        if rest:
            self.system = None if rest == "-" else rest
            self.messages.clear()
        self._note("system message: " + (self.system or "(the model's own)"))

    def _retry(self, _: str) -> None:
        if not self.messages:
            self._note("nothing to answer yet")
            return
        old = self.messages.pop()
        seed = None if self.last is None else self.last.seed + 1
        if not self.answer(seed=seed):
            self.messages.append(old)

    def _undo(self, _: str) -> None:
        del self.messages[-2:]
        self._note(f"{len(self.messages)} messages left")

    def _clear(self, _: str) -> None:
        self.messages.clear()
        self._note("the conversation is forgotten")

    def _set(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        if name:
            if name not in Settable:
                self._note(f"{name}: unknown; one of " + ", ".join(Settable))
                return
            kind, least, most = Settable[name]
            whole = "a whole number" if kind is int else "a number"
            try:
                number = kind(value)
            except ValueError:
                self._note(f"{name}: {value!r} is not {whole}")
                return
            if not least <= number <= most:
                self._note(f"{name}: {value}; allowed is {whole} from {least} to {most}")
                return
            self.options[name] = number
        self._note(", ".join(f"{k} {v}" for k, v in self.options.items() if k in Settable))

    def _stats(self, _: str) -> None:
        if self.last is None:
            self._note("no finished answer yet")
            return
        used = self.last.timing
        seconds = max(used.total_s - used.ttft_s, 1e-9)
        rate = (used.completion_tokens - 1) / seconds
        self._note(
            f"{used.prompt_tokens} tokens read ({used.cached_tokens} reused), "
            f"{used.completion_tokens} written, first after {used.ttft_s:.2f} s, "
            f"then {rate:.0f} a second, seed {self.last.seed}"
        )

    def _save(self, rest: str) -> None:
        if not rest:
            self._note("/save needs a file name, such as talk.md")
            return
        if not self.messages:
            self._note("nothing was said yet")
            return
        try:
            path = Path(rest).expanduser()
            save(path, self.model.name, self.prompt())
        except OSError as error:
            self._note(f"{rest}: {error.strerror}")
        except (ValueError, RuntimeError) as error:  # no such user's home, a label that may not be written
            self._note(f"{rest}: {error}")
        else:
            self._note(f"saved to {path}")


def save(path: Path, model: str, messages: list[dict[str, str]]) -> None:
    """Writes a conversation, labelled: JSON when the name ends in .json, else Markdown.

    Raises ValueError for any other ending than those of text, OSError where nothing can be written.
    """
    from tokenloom.trust import label_work

    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"found the ending {path.suffix!r}; allowed are {', '.join(ENDINGS)}")
    if path.suffix.lower() == ".json":
        label_work(path, json.dumps({"model": model, "messages": messages}, ensure_ascii=False, indent=2))
        return
    names = {"user": "You", "assistant": model, "system": "System"}
    parts = [f"**{names.get(m['role'], m['role'])}**\n\n{m['content']}\n" for m in messages]
    label_work(path, "\n".join(parts))


def lines(console: Console) -> Iterator[str]:
    """What the user types, message by message, until Ctrl-D; from a pipe, line by line."""
    if not sys.stdin.isatty():
        for line in sys.stdin:
            yield line.rstrip("\n")
        return
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory

    session: PromptSession[str] = PromptSession(history=InMemoryHistory())
    while True:
        try:
            line = session.prompt("> ")
            if line.strip() == '"""':
                block: list[str] = []
                while (more := session.prompt("… ")).strip() != '"""':
                    block.append(more)
                line = "\n".join(block)
            while line.endswith("\\"):
                line = line[:-1] + "\n" + session.prompt("… ")
            yield line
        except KeyboardInterrupt:
            console.print("[dim](Ctrl-D or /exit leaves)[/dim]")
        except EOFError:
            return


def run(
    model: Model, options: dict[str, Any], system: str | None = None, console: Console | None = None
) -> None:
    """The conversation, until its user leaves."""
    console = console or Console(highlight=False)
    chat = Chat(model, console, options, system)
    console.print(
        f"[bold]{model.name}[/bold] [dim]· AI-generated answers can be wrong · /help for commands[/dim]"
    )
    for line in lines(console):
        if not line.strip():
            continue
        if line.startswith("/"):
            if not chat.command(line):
                return
        else:
            chat.say(line)
