"""What can keep the page from starting on a machine, found out before and said in one sentence."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

FIRST_PORT, PORTS = 7860, 100  # where no port is named, the first free one of these is taken
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")


class StartError(OSError):
    """The page cannot start; the message names the option to change."""


@contextmanager
def without_proxies() -> Iterator[None]:
    """Hide the proxies that the environment names, in this process and while this lasts.

    A page asks itself only, once when it has started, which a proxy does not reach; and some values
    that desktops set, such as `socks://`, end the HTTP library that asks.
    """
    hidden = {name: value for name, value in os.environ.items() if name.lower() in _PROXIES}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def free_port(host: str | None, port: int | None) -> int:
    """The port to listen at: `port`, or the first free one from `FIRST_PORT`.

    Args:
        host: address to listen on; None for this machine only.
        port: None for any of `PORTS`.

    Raises:
        StartError: `host` is no address of this machine, or nothing can listen at `port`.
    """
    for candidate in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + PORTS):
        reason = _refusal(host or "127.0.0.1", candidate)
        if reason is None:
            return candidate
        if reason == errno.EACCES:
            raise StartError(
                f"--port {candidate}: this user may not listen there; a port from 1024 up would do."
            )
        if reason != errno.EADDRINUSE:
            raise StartError(
                f"--host {host}: this is no address of this machine; 127.0.0.1 is for this machine "
                "alone, 0.0.0.0 for all that reach it."
            )
    if port is None:
        last = FIRST_PORT + PORTS - 1
        raise StartError(f"--port: all from {FIRST_PORT} to {last} are in use; name a free one.")
    raise StartError(
        f"--port {port}: another program listens there; name another port, or none for the first "
        f"free one from {FIRST_PORT}."
    )


def _refusal(host: str, port: int) -> int | None:
    """Why nothing can listen at an address, as the number of the system's error; None: it can."""
    try:
        places = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, address in places:
            with socket.socket(family, kind, protocol) as probe:
                if os.name == "posix":  # as servers do: what has just ended there is no hindrance
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:  # gaierror, too
        return error.errno or errno.EADDRNOTAVAIL
    return None
