"""Every constraint of a model, broken one at a time, and what the answer has to say.

`found` is a second reading of the model's constraints, made for the tests alone: it tells for any input which
members break what, so the answer is compared with all violations of a request and not only with the one meant.
"""

import copy
import datetime
import re

from support.conformance.operations import location

LEX_ALIAS = "arn:aws:lex:us-east-1:000000000000:bot-alias/ABCDEFGHIJ/KLMNOPQRST"
LAMBDA = "arn:aws:lambda:us-east-1:000000000000:function:processor"
# One of these fits every text of both models that is no ARN of the run.
SAMPLES = ("value", "00000000-0000-4000-8000-000000000000", LEX_ALIAS, LAMBDA)
# One of these breaks every pattern that can be broken.
MISFITS = ("\x01", " ", "  ", "not an arn", "-not-an-id-", "n o t".center(40, "!"))

# The two patterns whose letter is not what is meant: names hold emoji, and blanks are told apart from text.
PRINTABLE = r"[\u0009\u000A\u000D\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\u10000-\u10FFFF]*"
READINGS = {PRINTABLE: "[\t\n\r -~\x85\xa0-\U0010ffff]*", r".*\S.*": r"(?s:.*\S.*)"}
ANYTHING = (".*", r"[\s\S]*")
# Texts that are measured in bytes of UTF-8; all others in characters.
IN_BYTES = ("Content", "Metadata", "FilterRule")


def matches(pattern, text):
    return pattern in ANYTHING or re.fullmatch(READINGS.get(pattern, pattern), text, re.ASCII) is not None


def size(name, text):
    return len(text.encode()) if name in IN_BYTES else len(text)


def lower_camel(name):
    return name[:1].lower() + name[1:]


def join(path, name):
    return f"{path}.{name}" if path else name


def bounds(shape, measure, noun):
    """What a measure is beyond, as the answer puts it."""
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and measure < least:
        yield f"have {noun} greater than or equal to {least}"
    elif most is not None and measure > most:
        yield f"have {noun} less than or equal to {most}"


def found(shape, value, name="", path=""):
    """Every violation of a value: pairs of the member's path and what it must do."""
    if shape.type_name == "structure":
        for member, its_shape in shape.members.items():
            here = join(path, lower_camel(member))
            if value.get(member) is not None:
                yield from found(its_shape, value[member], member, here)
            elif member in shape.required_members and location(its_shape) != "header":
                yield here, "not be null"
    elif shape.type_name == "list":
        yield from ((path, demand) for demand in bounds(shape, len(value), "length"))
        for number, item in enumerate(value, 1):
            yield from found(shape.member, item, name, f"{path}.{number}.member")
    elif shape.type_name == "map":
        for number, (key, item) in enumerate(sorted(value.items()), 1):
            yield from found(shape.key, key, name, f"{path}.{number}.key")
            yield from found(shape.value, item, name, f"{path}.{number}.value")
    elif shape.type_name == "string":
        yield from ((path, demand) for demand in text_demands(shape, value, name))
    elif shape.type_name in ("integer", "long"):
        yield from ((path, demand) for demand in bounds(shape, value, "value"))


def text_demands(shape, text, name):
    if shape.enum:
        if text not in shape.enum:
            yield f"satisfy enum value set: [{', '.join(sorted(shape.enum))}]"
        return
    yield from bounds(shape, size(name, text), "length")
    pattern = shape.metadata.get("pattern")
    if pattern and not matches(pattern, text):
        yield f"satisfy regular expression pattern: {pattern}"


def fullest(shape, name, arns):
    """A value with every member that the model knows, all of them valid."""
    if shape.type_name == "structure":
        return {member: fullest(its_shape, member, arns) for member, its_shape in shape.members.items()}
    if shape.type_name == "list":
        return [fullest(shape.member, name.removesuffix("s"), arns)] * max(1, shape.metadata.get("min", 1))
    if shape.type_name == "map":
        return {"name": fullest(shape.value, name, arns)}
    if shape.type_name == "string":
        return shape.enum[0] if shape.enum else fitting(shape, name, arns)
    if shape.type_name == "boolean":
        return False
    if shape.type_name == "timestamp":
        return datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
    assert shape.type_name in ("integer", "long"), shape
    return shape.metadata.get("min", 1)


def fitting(shape, name, arns):
    candidates = (*([arns[name]] if name in arns else []), *SAMPLES, arns["AppInstanceArn"])
    return next(text for text in candidates if not list(text_demands(shape, text, name)))


def broken(shape, value, name="", path=()):
    """All ways to break one constraint of a valid value: pairs of a path into it and the bad value; None is absent."""
    if shape.type_name == "structure":
        for member, its_shape in shape.members.items():
            if location(its_shape) == "header":
                continue
            if member in shape.required_members and location(its_shape) != "uri":
                yield (*path, member), None
            yield from broken(its_shape, value[member], member, (*path, member))
    elif shape.type_name == "list":
        if shape.metadata.get("min", 0) > 0:
            yield path, []
        if "max" in shape.metadata:
            yield path, value[:1] * (shape.metadata["max"] + 1)
        yield from broken(shape.member, value[0], name, (*path, 0))
    elif shape.type_name == "map":
        [(key, item)] = value.items()
        for _, text in broken(shape.key, key, name):
            yield path, {text: item}
        yield from broken(shape.value, item, name, (*path, key))
    elif shape.type_name == "string":
        for text in bad_texts(shape, value, name):
            # A label cannot be empty: the path would be another one.
            if text or location(shape) != "uri":
                yield path, text
    elif shape.type_name in ("integer", "long"):
        if "min" in shape.metadata:
            yield path, shape.metadata["min"] - 1
        if "max" in shape.metadata:
            yield path, shape.metadata["max"] + 1


def bad_texts(shape, good, name):
    if shape.enum:
        yield "NO_SUCH_VALUE"
        return
    least, most, pattern = (shape.metadata.get(key) for key in ("min", "max", "pattern"))
    if least:
        yield good[:1] * (least - 1)
    if most is not None:
        yield good + "x" * (most + 1 - len(good))
        if name in IN_BYTES:
            yield "ü" * (most // 2 + 1)
    if pattern and pattern not in ANYTHING:
        yield next(text for text in MISFITS if not matches(pattern, text) and len(text) >= (least or 0))


def replaced(given, path, value):
    """The input with another value at a path."""
    given = copy.deepcopy(given)
    *parents, last = path
    inner = given
    for step in parents:
        inner = inner[step]
    if value is None and parents:
        del inner[last]
    else:
        # At the top an absent member is told as None, or the client would make up a token.
        inner[last] = value
    return given


def violations(operation, arns):
    """Inputs of which each breaks the model, with what the answer has to find in them."""
    if operation.input is None:
        return
    good = fullest(operation.input, operation.name, arns)
    assert not list(found(operation.input, good)), (operation, list(found(operation.input, good)))
    for path, value in broken(operation.input, good):
        given = replaced(good, path, value)
        expected = sorted(found(operation.input, given))
        assert expected, (operation, path, value)
        yield path, given, expected


MESSAGE = re.compile(r"(\d+) validation errors? detected: (.*)", re.DOTALL)
VIOLATION = re.compile(
    r"Value(?P<value> null| '.*')? at '(?P<path>[^']+)' failed to satisfy constraint: Member must (?P<demand>.+)",
    re.DOTALL)


def told(message):
    """The violations that an answer tells, like those of `found`, and the count that it states."""
    whole = MESSAGE.fullmatch(message)
    assert whole, f"not the text of a constraint violation: {message!r}"
    texts = re.split(r"; (?=Value)", whole[2])
    parts = [VIOLATION.fullmatch(text) for text in texts]
    assert all(parts), f"not the text of a constraint violation: {message!r}"
    return int(whole[1]), sorted((part["path"], part["demand"]) for part in parts)
