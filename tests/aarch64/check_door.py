"""A door's dependencies on aarch64: what is compiled loads, the door loads, and passes are read and verified there."""

from __future__ import annotations

import importlib
import json
import pkgutil
import platform
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import cbor2
import pytest
from pyzbar.pyzbar import ZBarSymbol, decode

from firmware_adapters.qr_decode import FrameDecoder
from tests.core import test_vectors as suite
from tests.support.images import code, frame_with

# Every shared vector, put to a door here as well.
globals().update({name: each for name, each in vars(suite).items() if name.startswith("test_")})

SITE = Path(cbor2.__file__).parents[1]
PARTS = ("wire", "edge", "sync", "firmware_adapters", "provisioning")
# pyscard has no wheel; it is built on the machine (docs/hardware.md).
BUILT_THERE = {"firmware_adapters.pcsc_terminal": "smartcard"}
# What has to be among the compiled modules: a pure stand-in would be slow, and would hide a missing wheel.
COMPILED = {
    "_cffi_backend",
    "cbor2",
    "cryptography",
    "cv2",
    "gpiod",
    "immutables",
    "nacl",
    "numpy",
    "osdp_sys",
    "zxingcpp",
}
GRANTED = [
    vector
    for vector in json.loads((Path(suite.__file__).parents[1] / "vectors" / "verify.json").read_text())["vectors"]
    if vector["expect"]["granted"]
]


def compiled_modules() -> list[str]:
    """List the installed modules that are machine code, but for the libraries beside them."""
    found = []
    for file in SITE.rglob("*.so"):
        path = file.relative_to(SITE)
        suffix = next(each for each in EXTENSION_SUFFIXES if file.name.endswith(each))
        if not path.parts[0].endswith(".libs"):
            found.append(str(path).removesuffix(suffix).replace("/", "."))
    return sorted(found)


def modules_of_the_door() -> list[str]:
    packages = [importlib.import_module(name) for name in PARTS]
    walks = (pkgutil.walk_packages(each.__path__, f"{each.__name__}.") for each in packages)
    return [module.name for walk in walks for module in walk]


def test_this_is_the_processor_of_a_raspberry_pi():
    assert platform.machine() == "aarch64"


def test_what_should_be_machine_code_is():
    assert COMPILED - {name.partition(".")[0] for name in compiled_modules()} == set()


@pytest.mark.parametrize("name", compiled_modules())
def test_a_compiled_module_loads(name: str):
    # OpenCV's refuses to be loaded by itself; its package does it.
    importlib.import_module("cv2" if name == "cv2.cv2" else name)


@pytest.mark.parametrize("name", sorted(set(modules_of_the_door()) - BUILT_THERE.keys()))
def test_a_module_of_the_door_loads(name: str):
    importlib.import_module(name)


@pytest.mark.parametrize("name", BUILT_THERE)
def test_what_is_built_on_the_machine_is_all_that_a_module_lacks(name: str):
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(name)
    assert caught.value.name == BUILT_THERE[name]


def test_nfc_readers_have_what_they_need():
    for name in ("nfc", "nfc.clf.pn532", "nfc.clf.rcs380", "nfc.tag.tt4", "pyDes", "usb1"):
        importlib.import_module(name)


@pytest.mark.parametrize("vector", GRANTED, ids=lambda vector: vector["name"])
def test_a_pass_in_a_picture_is_read_by_both_decoders_and_granted(vector: suite.Vector):
    frame = frame_with(code(vector["token"]))
    (by_zxing,) = FrameDecoder(fallbacks_per_s=0).decode(frame, at_ms=0, changed=True).codes
    (by_zbar,) = decode(frame, symbols=[ZBarSymbol.QRCODE])
    assert by_zxing == by_zbar.data == vector["token"].encode("ascii")
    suite.test_a_door_answers_a_vector_as_it_says({**vector, "token": by_zxing.decode("ascii")})
