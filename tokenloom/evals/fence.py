"""Runs a program behind Python's audit hooks, where there are no namespaces. A script of sandbox.py.

    python -I fence.py SPEC    a JSON file; the program's texts go to the inherited stdout and stderr

Refused are: network addresses, other processes, foreign libraries, and changes to files outside the folder. A
fence for programs that go wrong, not a wall against those made to break it: jail.py is that. Source: PEP 578.
"""

import json
import os
import resource
import runpy
import sys

PROCESSES = frozenset(
    {
        *(
            "os.system",
            "os.exec",
            "os.posix_spawn",
            "os.spawn",
            "os.fork",
            "os.forkpty",
            "os.kill",
            "os.killpg",
        ),
        *("subprocess.Popen", "pty.spawn"),
    }
)
CHANGES = frozenset(
    {
        *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink"),
        *("os.truncate", "os.utime", "os.chflags", "os.lchown", "os.lchmod", "shutil.rmtree"),
    }
)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PLACES = ("/dev/null",)


def refuse(what: str) -> None:
    raise PermissionError(f"not allowed in the sandbox: {what}")


def fence(folder: str) -> None:
    """From here on this process is refused what the head of this file says."""
    import socket

    local = getattr(socket, "AF_UNIX", None)

    def inside(path: object) -> bool:
        if isinstance(path, int):
            return True  # a file that is open already
        place = os.path.realpath(os.fsdecode(path))  # type: ignore[arg-type]
        return place in PLACES or place == folder or place.startswith(folder + os.sep)

    def hook(event: str, args: tuple) -> None:
        if event.startswith("socket."):
            # A pair of local sockets is how asyncio wakes itself; going anywhere with one is refused.
            if event != "socket.__new__" or args[1] != local:
                refuse(event)
        elif event in PROCESSES or event.startswith("ctypes."):
            refuse(event)
        elif event == "open":
            if isinstance(args[2], int) and args[2] & WRITES and not inside(args[0]):
                refuse(f"writing to {args[0]!r}")
        elif event in CHANGES:
            paths = [arg for arg in args if isinstance(arg, str | bytes)]
            if not all(inside(path) for path in paths):
                refuse(f"{event} {paths}")

    sys.addaudithook(hook)


def limit(spec: dict) -> None:
    for kind, value in (
        (resource.RLIMIT_CPU, int(spec["seconds"]) + 1),
        (resource.RLIMIT_FSIZE, spec["file_bytes"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 128),
    ):
        resource.setrlimit(kind, (value, value))
    if sys.platform != "darwin":  # which takes this one and does not keep to it
        resource.setrlimit(resource.RLIMIT_AS, (spec["memory_bytes"], spec["memory_bytes"]))


def main(spec_file: str) -> None:
    with open(spec_file, encoding="utf-8") as file:
        spec = json.load(file)
    os.chdir(spec["folder"])
    limit(spec)
    sys.argv = ["main.py"]
    fence(os.path.realpath(spec["folder"]))
    runpy.run_path("main.py", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1])
