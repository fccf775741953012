"""The options that device addresses share, by what they are about; `catalogue.py` puts them together.

Invariant: a table is not changed after it is made.
"""

from firmware_adapters.address import AnyOption, Option, TextOption

CAMERA: dict[str, AnyOption] = {
    "fps": Option("frames a second at most", default=15, least=1, most=60),
    "repeat_ms": Option(
        "milliseconds out of view after which a code counts again, 0 to count it in every frame",
        default=2000,
        least=0,
        most=600_000,
    ),
    "fallbacks": Option("expensive looks a second at most, 0 for none", default=6, least=0, most=30),
}
CAMERA_DEVICE: dict[str, AnyOption] = {
    "width": Option("pixels asked of the device", default=1280, least=160, most=3840),
    "height": Option("pixels asked of the device", default=720, least=120, most=2160),
}

LINE = r"[A-Za-z0-9_.\-]{1,32}"
PIN_PAUSE = Option("milliseconds without a key that end a PIN", default=3000, least=500, most=30_000)
OSDP_EXAMPLE = "osdp:///dev/ttyUSB0?address=1&key=/var/lib/doorward/osdp/1.key"
OSDP_LINE: dict[str, AnyOption] = {
    "address": Option("the reader's address on its line", default=0, least=0, most=126),
    "baud": Option("bits a second, the same for all readers of a line", default=9600, least=9600, most=460_800),
    "key": TextOption(
        "the path of the file with its secure channel key, of mode 0600", pattern=r"/[^\x00-\x1f]+", required=True
    ),
}

FAIL = TextOption(
    "secure for a lock that is locked without power, safe for one that is open without it",
    pattern="secure|safe",
    default="secure",
)
RELAY: dict[str, AnyOption] = {
    "lock": TextOption("the relay's line, by number or name", pattern=LINE, required=True),
    "active": TextOption("the level that powers the relay: high or low", pattern="high|low", default="high"),
    "fail": FAIL,
}
LINES: dict[str, AnyOption] = {
    name: TextOption(
        f"{what}: number or name of its line, then nc or no for a circuit closed or open at rest (usually {rest})"
        ", then up, down or none for what pulls it",
        pattern=LINE + "(,(nc|no))?(,(up|down|none))?",
    )
    for name, what, rest in (
        ("contact", "the door's contact", "nc"),
        ("rex", "the exit button or sensor", "no"),
        ("fire", "the fire panel's contact", "nc"),
        ("lock_monitor", "the bolt's contact, closed while it is thrown", "nc"),
        ("interlock", "the contact of an interlock's other door", "nc"),
        ("tamper", "the contact of the controller's case", "nc"),
        ("power", "the supply's contact for lost mains", "nc"),
    )
}
_NAMES = "|".join(LINES)
WIRES: dict[str, AnyOption] = {
    "wires": TextOption(
        "the wires that are taken from it, such as contact,rex; usually all that it can have",
        pattern=f"({_NAMES})(,({_NAMES}))*",
        default=",".join(LINES),
    ),
}
OSDP_WIRES: dict[str, AnyOption] = {
    "wires": TextOption(
        "the wires that are taken from it: tamper, power or, as usual, both",
        pattern="(tamper|power)(,(tamper|power))*",
        default="tamper,power",
    ),
}
BOARD: dict[str, AnyOption] = {
    "unit": Option("the board's number on its bus", default=1, least=1, most=247),
}
BUS: dict[str, AnyOption] = {"baud": Option("bits a second", default=9600, least=1200, most=921_600)}
COIL: dict[str, AnyOption] = {
    "coil": Option("the relay's coil, counted from 0", default=0, least=0, most=65_535),
    "fail": FAIL,
}
POLLED: dict[str, AnyOption] = {
    name: TextOption(
        f"the number, from 0, of the input for {name}, then nc or no for a circuit closed or open at rest",
        pattern=r"[0-9]{1,4}(,(nc|no))?",
    )
    for name in LINES
} | {"poll_ms": Option("milliseconds from one look at the board to the next", default=20, least=5, most=1000)}
DEBOUNCE: dict[str, AnyOption] = {
    "debounce_ms": Option(
        "milliseconds that a change has to last; rex and fire never more than 50", default=50, least=0, most=1000
    ),
}
CUSTOMER_DISPLAY: dict[str, AnyOption] = {
    "baud": Option("bits a second, as the display is set", default=9600, least=1200, most=115_200),
    "commands": TextOption("the commands it is set to: cd5220 or escpos", pattern="cd5220|escpos", default="cd5220"),
}
