"""craftd as a person runs it: with a terminal."""
import fcntl
import os
import struct
import subprocess
import termios

from cluster import BINARY


def on_terminal(*words, addr=None, typed=b"", prompt=b"", columns=80, stdin=None, stdout=None):
    """The exit code, and the bytes that the terminal shows. It is stderr, and stdin and
    stdout too unless these are given. `typed` is typed at the prompt."""
    master, end = os.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k != "CRAFTD_ADDR"}
    if addr:
        environment["CRAFTD_ADDR"] = addr
    child = subprocess.Popen([BINARY, *words], stdin=end if stdin is None else stdin,
                             stdout=end if stdout is None else stdout, stderr=end,
                             env=environment)
    os.close(end)
    shown = b""
    try:
        while True:
            shown += os.read(master, 4096)
            if typed and prompt in shown:
                os.write(master, typed)
                typed = b""
    except OSError:
        pass  # EIO: the other side has closed it.
    finally:
        os.close(master)
    return child.wait(30), shown
