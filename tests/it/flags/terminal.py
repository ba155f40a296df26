"""Runs a program on a terminal, answers once it asks, and ends with what it said and as it ended.

usage: terminal.py ANSWER PROGRAM [ARGUMENT ...]; the answer `^D` is the end of input.
"""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios

answer, program = sys.argv[1], sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    # A new one has no size, and a table of no width is a column of letters.
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    os.execvp(program[0], program)
said, is_asked = b"", False


def give_up(*_):
    """It neither ends nor asks: what it said tells why."""
    os.kill(child, signal.SIGKILL)
    sys.stdout.buffer.write(said)
    sys.stdout.flush()
    os._exit(98)


signal.signal(signal.SIGALRM, give_up)
signal.alarm(20)
while True:
    try:
        part = os.read(terminal, 4096)
    except OSError:  # Linux says so where the other end is closed.
        break
    if not part:
        break
    said += part
    if not is_asked and said.endswith(b"[y/N] "):
        is_asked = True
        os.write(terminal, b"\x04" if answer == "^D" else answer.encode() + b"\n")
sys.stdout.buffer.write(said)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status) if is_asked else 99)
