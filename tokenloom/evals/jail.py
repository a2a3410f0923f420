"""Runs a program that is not trusted, in namespaces of its own. A script, started by sandbox.py; Linux only.

    python -I jail.py SPEC RESULT    two JSON files; what the program prints goes to the inherited files

It makes a user, mount, network, process and IPC namespace, in which every file system is read-only but one
folder that is new, small and in memory; /tmp, /run and /dev/shm are empty; and no network device works. The
program runs there without privileges and is watched from outside (time, processes, memory). When it ends or
goes too far, the kernel kills all that it started. What it does not do: hide files that the user may read;
without network, and with a bounded output, they have nowhere to go but there.

Not the judgement of what the program printed, and not the way for systems without namespaces (sandbox.py).
Sources: user_namespaces(7), pid_namespaces(7), mount_setattr(2).
"""

import ctypes
import json
import os
import resource
import signal
import sys
import time

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 2, 4, 0x4000, 0x40000
AT_FDCWD, AT_RECURSIVE, ATTR_RDONLY, MOUNT_SETATTR = -100, 0x8000, 1, 442
SET_DEATH_SIGNAL, NO_NEW_PRIVILEGES = 1, 38
HIDDEN = ("/tmp", "/run", "/dev/shm")
INNER_ID = 1000
"""The user's number inside: not 0, so that a program started there has no privileges."""
POLL_S = 0.02
PAGE = resource.getpagesize()
_libc = ctypes.CDLL(None, use_errno=True)


class MountAttr(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns"))


def _check(what: str, answer: int) -> None:
    if answer != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(kind: str, place: str, flags: int, options: str) -> None:
    _check(
        f"mount {place}", _libc.mount(kind.encode(), place.encode(), kind.encode(), flags, options.encode())
    )


def _read_only(place: str, recursive: bool, on: bool) -> None:
    asked = MountAttr(ATTR_RDONLY if on else 0, 0 if on else ATTR_RDONLY, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    _check(
        f"mount_setattr {place}",
        _libc.syscall(
            MOUNT_SETATTR, AT_FDCWD, place.encode(), flags, ctypes.byref(asked), ctypes.sizeof(asked)
        ),
    )


def isolate(folder: str, folder_bytes: int) -> None:
    """Leaves for namespaces of its own; `folder` is then the one place that can be written to."""
    user, group = os.getuid(), os.getgid()
    flags = NEW_USER | NEW_MOUNTS | NEW_NET | NEW_IPC | NEW_PIDS
    _check("unshare", _libc.unshare(flags))
    for file, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{INNER_ID} {user} 1"),
        ("gid_map", f"{INNER_ID} {group} 1"),
    ):
        with open(f"/proc/self/{file}", "w") as out:
            out.write(text)
    _check("mount /", _libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    interpreter = os.path.realpath(sys.base_prefix) + os.sep, sys.prefix + os.sep
    for place in HIDDEN:
        if os.path.isdir(place) and not any(path.startswith(place + os.sep) for path in interpreter):
            _mount("tmpfs", place, MS_NOSUID | MS_NODEV, "size=64k,mode=755")
    os.makedirs(folder, exist_ok=True)
    _mount("tmpfs", folder, MS_NOSUID | MS_NODEV, f"size={folder_bytes},nr_inodes=4096,mode=755")
    _read_only("/", recursive=True, on=True)
    _read_only(folder, recursive=False, on=False)


def limit(spec: dict) -> None:
    """The limits of one process; those of all together are watched."""
    for kind, value in (
        (resource.RLIMIT_CPU, int(spec["seconds"]) + 1),
        (resource.RLIMIT_AS, spec["memory_bytes"]),
        (resource.RLIMIT_FSIZE, spec["file_bytes"]),
        (resource.RLIMIT_NOFILE, 128),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def _program(spec: dict) -> None:
    """Becomes the program."""
    limit(spec)
    os.nice(10)  # the watcher goes first
    _check("prctl", _libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    os.chdir(spec["folder"])
    os.execve(spec["command"][0], spec["command"], spec["environment"])


def _first(spec: dict, ready: int) -> None:
    """Process 1 of the namespace: starts the program and waits. When it ends, the kernel kills the rest."""
    _libc.prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    child = os.fork()
    if child == 0:
        os.close(ready)
        try:
            _program(spec)
        except OSError as error:
            print(f"jail: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(127)
    while True:
        pid, status = os.wait()
        if pid == child:
            os.write(ready, json.dumps(os.waitstatus_to_exitcode(status)).encode())
            os._exit(0)


def family(root: int) -> list[int]:
    """The processes that came from `root`, itself left out."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue  # it has ended meanwhile
            children.setdefault(parent, []).append(int(name))
    found, todo = [], [root]
    while todo:
        new = children.get(todo.pop(), [])
        found += new
        todo += new
    return found


def resident(pids: list[int]) -> int:
    """Bytes of memory these processes hold together; shared pages count for each."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", "rb") as file:
                total += int(file.read().split()[1]) * PAGE
        except (OSError, IndexError, ValueError):
            continue  # it has ended meanwhile
    return total


def watch(first: int, spec: dict) -> str:
    """Waits for the first process; kills it when a limit is passed and says which: "" if none was."""
    end = time.monotonic() + spec["seconds"]
    while os.waitpid(first, os.WNOHANG)[0] == 0:
        members = family(first)
        over = ""
        if time.monotonic() > end:
            over = "time"
        elif len(members) > spec["processes"]:
            over = "processes"
        elif resident(members) > spec["memory_bytes"]:
            over = "memory"
        if over:
            os.kill(first, signal.SIGKILL)
            os.waitpid(first, 0)
            return over
        time.sleep(POLL_S)
    return ""


def main(spec_file: str, result_file: str) -> None:
    with open(spec_file, encoding="utf-8") as file:
        spec = json.load(file)
    result = os.open(result_file, os.O_WRONLY)  # the file cannot be opened any more in the jail
    _libc.prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    answer: dict = {"isolated": False, "why": "", "over": "", "status": None}
    try:
        isolate(spec["folder"], spec["folder_bytes"])
        for name, text in spec["files"].items():
            with open(os.path.join(spec["folder"], name), "w", encoding="utf-8") as out:
                out.write(text)
    except OSError as error:
        answer["why"] = str(error)
    else:
        reader, writer = os.pipe()
        first = os.fork()
        if first == 0:
            os.close(reader)
            os.close(result)
            _first(spec, writer)
        os.close(writer)
        answer["over"] = watch(first, spec)
        said = os.read(reader, 64)
        answer.update(isolated=True, status=json.loads(said) if said else None)
    os.write(result, json.dumps(answer).encode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
