"""Forms: how values of a type are written as plain CBOR values and read again, by the type's annotation.

Invariant: what a form writes it reads back equal; what it does not write it refuses with `RecordingError`.
Must not: know which classes occur; the caller names them (edge/recording.py).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from enum import Enum, unique
from types import MappingProxyType, NoneType, UnionType
from typing import Final, NewType, TypeAlias, Union, cast, get_args, get_origin, get_type_hints

from immutables import Map

from wire.codec import MAX_UINT, Value


@unique
class RecordingReason(Enum):
    """Why something cannot be recorded, or read again."""

    UNKNOWN = "unknown"
    UNREADABLE = "unreadable"
    NOT_KEPT = "not_kept"


class RecordingError(Exception):
    """A recording cannot be written or read; `place` names the class, the field or the version."""

    def __init__(self, reason: RecordingReason, place: str) -> None:
        super().__init__(f"{place}: {reason.value}")
        self.reason = reason
        self.place = place


def unknown(place: object) -> RecordingError:
    """Say that something is of no type that may be recorded."""
    return RecordingError(RecordingReason.UNKNOWN, str(place))


def unreadable(place: object) -> RecordingError:
    """Say that something is not what a recording holds there."""
    return RecordingError(RecordingReason.UNREADABLE, str(place))


Write: TypeAlias = Callable[[object], Value]
Read: TypeAlias = Callable[[Value], object]


@dataclass(frozen=True, slots=True)
class Form:
    """How values of one type are written and read.

    Attributes:
        write: gives the plain value; RecordingError UNKNOWN for a value of another type.
        read: the other way; RecordingError UNREADABLE for whatever `write` does not give.
        of, name: for a dataclass, the type of its values, and the name that the plain value begins with.
    """

    write: Write
    read: Read
    of: type | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Substitute:
    """A type whose values are written as those of another: `reduce` makes that one, `restore` finds the value again."""

    by: type
    reduce: Callable[[object], object]
    restore: Callable[[object], object]


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a dataclass; where a recording lacks it, its default holds."""

    name: str
    form: Form
    optional: bool


class Forms:
    """The forms of a closed world of types.

    Args:
        known: the dataclasses that may occur.
        substitutes: the types that are written as others.
    """

    def __init__(self, known: Collection[type], substitutes: Mapping[type, Substitute]) -> None:
        self._known = frozenset(known)
        self._substitutes = substitutes
        self._made: dict[object, Form] = {}
        self._fields: dict[type, tuple[_Field, ...]] = {}
        self._generic: Mapping[object, Callable[[Sequence[object]], Form]] = {
            tuple: self._tuple,
            frozenset: lambda hints: self._set(hints[0]),
            Mapping: self._mapping,
            Map: self._mapping,
            Union: self._union,
            UnionType: self._union,
        }

    def of(self, hint: object) -> Form:
        """Give the form of a type.

        Raises:
            RecordingError: UNKNOWN, no recording may hold that type.
        """
        if hint not in self._made:
            self._made[hint] = self._make(hint)
        return self._made[hint]

    def _make(self, hint: object) -> Form:
        origin = get_origin(hint)
        if isinstance(hint, NewType):
            return self.of(hint.__supertype__)
        if origin in self._generic:
            return self._generic[origin](get_args(hint))
        if not isinstance(hint, type):
            raise unknown(hint)
        if hint in _SCALARS:
            return _scalar(hint)
        if issubclass(hint, Enum):
            return _enum(hint)
        if hint in self._substitutes:
            return self._substitute(hint, self._substitutes[hint])
        if hint in self._known:
            return self._record(hint)
        raise unknown(hint)

    # --- several values ------------------------------------------------------------------------------------

    def _tuple(self, hints: Sequence[object]) -> Form:
        if len(hints) == 2 and hints[1] is Ellipsis:  # noqa: PLR2004 - tuple[X, ...]
            return self._row(hints[0])
        forms = [self.of(hint) for hint in hints]

        def write(value: object) -> Value:
            if type(value) is not tuple or len(value) != len(forms):
                raise unknown("tuple")
            return [form.write(item) for form, item in zip(forms, value, strict=True)]

        def read(value: Value) -> object:
            items = _items(value, "tuple")
            if len(items) != len(forms):
                raise unreadable("tuple")
            return tuple(form.read(item) for form, item in zip(forms, items, strict=True))

        return Form(write, read)

    def _row(self, hint: object) -> Form:
        form = self.of(hint)

        def write(value: object) -> Value:
            if type(value) is not tuple:
                raise unknown("tuple")
            return [form.write(item) for item in value]

        return Form(write, lambda value: tuple(form.read(item) for item in _items(value, "tuple")))

    def _set(self, hint: object) -> Form:
        """Take any set: what is left of a frozenset without the keys of a dict is none any more, but equal to one."""
        form = self.of(hint)

        def write(value: object) -> Value:
            if not isinstance(value, frozenset | set):
                raise unknown("frozenset")
            return [form.write(item) for item in value]

        def read(value: Value) -> object:
            items = _items(value, "frozenset")
            found = frozenset(form.read(item) for item in items)
            if len(found) != len(items):
                raise unreadable("frozenset")
            return found

        return Form(write, read)

    def _mapping(self, hints: Sequence[object]) -> Form:
        """Write [kind, key, value, key, value …]; the kind tells a read-only dict from a `Map`."""
        key_form, value_form = (self.of(hint) for hint in hints)

        def write(value: object) -> Value:
            if not isinstance(value, dict | MappingProxyType | Map):
                raise unknown("mapping")
            out: list[Value] = [_MAP if isinstance(value, Map) else _PROXY]
            for key, item in value.items():
                out += (key_form.write(key), value_form.write(item))
            return out

        def read(value: Value) -> object:
            kind, *items = _items(value, "mapping") or [None]
            if type(kind) is not int or kind not in (_PROXY, _MAP) or len(items) % 2:
                raise unreadable("mapping")
            keys = [key_form.read(key) for key in items[::2]]
            found = dict(zip(keys, [value_form.read(item) for item in items[1::2]], strict=True))
            if len(found) != len(keys):
                raise unreadable("mapping")
            return Map(found) if kind == _MAP else MappingProxyType(found)

        return Form(write, read)

    def _union(self, hints: Sequence[object]) -> Form:
        """Take None, any number of dataclasses, which their names tell apart, and at most one other type."""
        forms = [self.of(hint) for hint in hints if hint is not NoneType]
        others = [form for form in forms if form.of is None]
        by_type = {form.of: form for form in forms if form.of is not None}
        by_name = {form.name: form for form in by_type.values()}
        if len(others) > 1:
            raise unknown(" | ".join(map(str, hints)))
        other = others[0] if others else None

        def write(value: object) -> Value:
            if value is None and NoneType in hints:
                return None
            form = by_type.get(type(value), other)
            if form is None:
                raise unknown(type(value).__name__)
            return form.write(value)

        def read(value: Value) -> object:
            if value is None and NoneType in hints:
                return None
            name = value[0] if type(value) is list and value else None
            form = by_name.get(name, other) if type(name) is str else other
            if form is None:
                raise unreadable("union")
            return form.read(value)

        return Form(write, read)

    # --- dataclasses ---------------------------------------------------------------------------------------

    def _record(self, kind: type) -> Form:
        """Write [name of the class, name of a field, its value …]."""
        name = kind.__name__

        def write(value: object) -> Value:
            if type(value) is not kind:
                raise unknown(f"{type(value).__name__} for {name}")
            out: list[Value] = [name]
            for each in self._fields_of(kind):
                out += (each.name, each.form.write(getattr(value, each.name)))
            return out

        def read(value: Value) -> object:
            left = _named_values(value, name)
            known = self._fields_of(kind)
            if any(each.name not in left and not each.optional for each in known):
                raise unreadable(name)
            found = {each.name: each.form.read(left.pop(each.name)) for each in known if each.name in left}
            if left:
                raise unreadable(f"{name}.{min(left)}")
            return kind(**found)

        return Form(write, read, kind, name)

    def _fields_of(self, kind: type) -> tuple[_Field, ...]:
        """Look the fields up at first use, not before: a class may hold itself."""
        found = self._fields.get(kind)
        if found is None:
            hints = get_type_hints(kind)
            found = self._fields[kind] = tuple(
                _Field(each.name, self.of(hints[each.name]), _has_default(each)) for each in fields(kind)
            )
        return found

    def _substitute(self, kind: type, substitute: Substitute) -> Form:
        form = self.of(substitute.by)

        def write(value: object) -> Value:
            if type(value) is not kind:
                raise unknown(f"{type(value).__name__} for {kind.__name__}")
            return form.write(substitute.reduce(value))

        return Form(write, lambda value: substitute.restore(form.read(value)), kind, form.name)


# --- single values ---------------------------------------------------------------------------------------------

_SCALARS: Final = frozenset({int, str, bytes, bool})
_PROXY, _MAP = 0, 1


def _scalar(kind: type) -> Form:
    def write(value: object) -> Value:
        if type(value) is not kind or (type(value) is int and not -MAX_UINT <= value <= MAX_UINT):
            raise unknown(f"{type(value).__name__} for {kind.__name__}")
        return cast("Value", value)

    def read(value: Value) -> object:
        if type(value) is not kind:
            raise unreadable(kind.__name__)
        return value

    return Form(write, read)


def _enum(kind: type[Enum]) -> Form:
    plain = {type(member.value) for member in kind}

    def write(value: object) -> Value:
        if not isinstance(value, kind):
            raise unknown(f"{type(value).__name__} for {kind.__name__}")
        return cast("Value", value.value)

    def read(value: Value) -> object:
        if type(value) not in plain:
            raise unreadable(kind.__name__)
        try:
            return kind(value)
        except ValueError as error:
            raise unreadable(kind.__name__) from error

    return Form(write, read)


def _has_default(each: Field[object]) -> bool:
    return each.default is not MISSING or each.default_factory is not MISSING


def _items(value: Value, place: str) -> list[Value]:
    if type(value) is not list:
        raise unreadable(place)
    return value


def _named_values(value: Value, name: str) -> dict[str, Value]:
    """Take [name, field, value, field, value …] apart."""
    first, *rest = _items(value, name) or [None]
    names = [each for each in rest[::2] if type(each) is str]
    if first != name or len(rest) != 2 * len(names) or len(set(names)) != len(names):
        raise unreadable(name)
    return dict(zip(names, rest[1::2], strict=True))
