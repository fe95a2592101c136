"""The unit of systemd and the container file ask the binary for what it knows, and copy what is there."""

import re

from support.server import ROOT, run

UNIT = (ROOT / "packaging" / "campanile.service").read_text(encoding="utf-8")
CONTAINER = (ROOT / "Containerfile").read_text(encoding="utf-8")


def flags_of(*command):
    done = run(*command, "--help")
    assert done.returncode == 0
    return set(re.findall(r"--[a-z][\w-]*", done.stdout))


def test_every_command_of_the_unit_has_the_flags_that_it_is_given():
    commands = re.findall(r"campanile ((?:serve|db \w+)(?: --[\w-]+ \S+)+)", UNIT)
    assert [command.split(" --")[0] for command in commands] == ["db backup", "serve"]
    for command in commands:
        name, *given = command.split(" --")
        assert {f"--{flag.split()[0]}" for flag in given} <= flags_of(*name.split())


def test_the_unit_runs_as_the_user_that_its_head_makes():
    [user] = re.findall(r"^User=(\w+)$", UNIT, re.MULTILINE)
    assert re.search(rf"^#   useradd .* {user}$", UNIT, re.MULTILINE)
    assert f"runuser -u {user} --" in UNIT


def test_every_variable_of_the_container_is_a_setting():
    names = re.findall(r"\bCAMPANILE_(\w+)=", CONTAINER)
    assert len(names) == 3
    assert {f"--{name.lower().replace('_', '-')}" for name in names} <= flags_of("serve")


def test_the_container_copies_what_is_there():
    [sources] = re.findall(r"^COPY --from=build ((?:/source/(?!target)\S+ )+)", CONTAINER, re.MULTILINE)
    for source in sources.split():
        assert (ROOT / source.removeprefix("/source/")).is_file()


def test_what_a_build_does_not_need_is_kept_out_of_it():
    left_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {".git", "target", "campanile-data"} <= set(left_out)
