"""The process and its machine: where it listens, proxies of the environment, freed memory."""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

FIRST_PORT, PORTS = 7860, 100  # where no port is named, the first free one of these is taken
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
_ARENA_MAX = -8  # mallopt(3)
_ARENAS = 2  # the page's threads mostly wait for the model's


class StartError(OSError):
    """The page cannot start; the message names the option to change."""


@contextmanager
def without_proxies() -> Iterator[None]:
    """Hide the proxies that the environment names, in this process and while this lasts.

    Gradio makes an HTTP client as soon as it is imported, and some values that desktops set, such
    as `socks://`, end that.
    """
    hidden = {name: value for name, value in os.environ.items() if name.lower() in _PROXIES}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def port(text: str) -> int:
    """The option `--port`."""
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise argparse.ArgumentTypeError(f"{text}: a port is a number from 1 to 65535")
    return int(text)


def root_path(text: str) -> str:
    """The option `--root-path`, without a slash at its end."""
    if not re.fullmatch(r"(/[\w.~-]+)*/?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text}: a path begins with a slash, such as /brain")
    return text.rstrip("/")


def listen(host: str, port: int | None) -> socket.socket:
    """A socket at `port`, or at the first free one from `FIRST_PORT`.

    Args:
        host: address to listen on.
        port: None for any of `PORTS`.

    Raises:
        StartError: `host` is no address of this machine, or nothing can listen at `port`.
    """
    for candidate in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + PORTS):
        try:
            return _bound(host, candidate)
        except OSError as error:  # gaierror, too
            if error.errno == errno.EACCES:
                raise StartError(
                    f"--port {candidate}: this user may not listen there; a port from 1024 up "
                    "would do."
                ) from None
            if error.errno != errno.EADDRINUSE:
                raise StartError(
                    f"--host {host}: this is no address of this machine; 127.0.0.1 is for this "
                    "machine alone, 0.0.0.0 for all that reach it."
                ) from None
    if port is None:
        last = FIRST_PORT + PORTS - 1
        raise StartError(f"--port: all from {FIRST_PORT} to {last} are in use; name a free one.")
    raise StartError(
        f"--port {port}: another program listens there; name another port, or none for the first "
        f"free one from {FIRST_PORT}."
    )


def _bound(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
    listening = socket.create_server(address, family=family, dualstack_ipv6=both)
    # Small answers are sent at once and not 40 ms later; connections inherit it.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def limit_arenas() -> None:
    """Have all threads share few pools ("arenas") of freed memory, where the C library is glibc.

    It keeps one for nearly every thread, and a server with many threads that each once held a
    volume seems to grow for hours. Measured over 500 mixed requests (`python tests/mixture.py
    500`, two cores): 90 MiB more in use at the end without this and `trim_memory`, 9 MiB with both.
    To be called before there are many threads.
    """
    if (library := _glibc()) is not None:
        library.mallopt(_ARENA_MAX, _ARENAS)


def trim_memory() -> None:
    """Return what is free to the system, where the C library is glibc; takes some milliseconds."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)
