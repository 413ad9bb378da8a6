"""A kernel that says of its clock that it is not synchronised, to one command: nobody's clock is touched for it.

python -m tests.fakes.unsynchronised COMMAND ARGUMENT…

The command's adjtimex(2) is a real system call, which seccomp(2) hands to this process to answer: TIME_ERROR. No right
is needed for that. Ends with the command's exit code, or with `NO_FILTER` where the kernel takes no such filter.
"""

from __future__ import annotations

import ctypes
import fcntl
import platform
import struct
import subprocess
import sys
import threading

NO_FILTER = 77
"""The exit code that says that this machine cannot be asked this way."""

TIME_ERROR = 5

# The numbers of seccomp, adjtimex and clock_adjtime, by machine. Source: the kernel's tables of system calls.
_CALLS = {"x86_64": (317, 159, 305), "aarch64": (277, 171, 266)}

# Source: linux/seccomp.h, linux/prctl.h, linux/bpf_common.h.
_NO_NEW_PRIVILEGES = 38
_SET_FILTER, _NEW_LISTENER = 1, 8
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ASK_LISTENER = 0x7FFF0000, 0x7FC00000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_QUESTION_BYTES = 80


class _Program(ctypes.Structure):
    """sock_fprog: how many instructions, and where."""

    _fields_ = (("count", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _listen() -> int:
    """Have this thread, and what it starts, ask before adjtimex; return where the questions come. -1 if refused."""
    if platform.machine() not in _CALLS:
        return -1
    seccomp, *asked = _CALLS[platform.machine()]
    instruction = struct.Struct("=HBBI")
    program = b"".join(
        [
            instruction.pack(_LOAD, 0, 0, 0),
            instruction.pack(_JUMP_IF_EQUAL, 2, 0, asked[0]),
            instruction.pack(_JUMP_IF_EQUAL, 1, 0, asked[1]),
            instruction.pack(_RETURN, 0, 0, _ALLOW),
            instruction.pack(_RETURN, 0, 0, _ASK_LISTENER),
        ]
    )
    kernel = ctypes.CDLL(None)
    kernel.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    told = _Program(len(program) // instruction.size, program)
    listener: int = kernel.syscall(seccomp, _SET_FILTER, _NEW_LISTENER, ctypes.byref(told))
    return listener


def _answer(listener: int) -> None:
    """Answer every question with TIME_ERROR."""
    while True:
        question = bytearray(_QUESTION_BYTES)
        fcntl.ioctl(listener, _RECEIVE, question)
        (number,) = struct.unpack_from("=Q", question)
        fcntl.ioctl(listener, _SEND, bytearray(struct.pack("=QqiI", number, TIME_ERROR, 0, 0)))


def main(command: list[str]) -> int:
    """Run the command to its end."""
    listener = _listen()
    if listener < 0:
        return NO_FILTER
    threading.Thread(target=_answer, args=(listener,), daemon=True).start()
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
