"""What people ask for: declarations from which the terminal's command, the API's route and the form come."""

from tokenloom.engine.drafts import keep
from tokenloom.tasks.declare import (
    BadDeclaration,
    Prompt,
    Task,
    build,
    fields_json,
    finish,
    parse_task,
    tasks,
    values_of,
)
from tokenloom.tasks.fields import Field, FieldError
from tokenloom.tasks.run import run
from tokenloom.tasks.terminal import terminal_lang, typer_command

__all__ = [
    "BadDeclaration",
    "Field",
    "FieldError",
    "Prompt",
    "Task",
    "build",
    "fields_json",
    "finish",
    "keep",
    "parse_task",
    "run",
    "tasks",
    "terminal_lang",
    "typer_command",
    "values_of",
]
