"""Settings are filled, checked, and refused with a message that helps."""

import pytest

from scan2map.config import check_block, check_config
from scan2map.errors import SettingError

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "iterations": {"type": "integer", "minimum": 1, "default": 3, "unit": "count", "description": "n"},
        "engine": {"type": "string", "enum": ["embedded", "fsl"], "default": "embedded", "unit": "none"},
        "nested": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"width_mm": {"type": "number", "exclusiveMinimum": 0, "default": 1.5, "unit": "mm"}},
        },
    },
}


def test_defaults_fill_what_is_absent():
    filled = check_block("demo", {"nested": {}}, SCHEMA)
    assert filled == {"iterations": 3, "engine": "embedded", "nested": {"width_mm": 1.5}}


def test_defaults_are_copied_not_shared():
    first, second = check_block("demo", {}, SCHEMA), check_block("demo", {}, SCHEMA)
    first["nested"]["width_mm"] = 9
    assert second["nested"]["width_mm"] == 1.5


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"iteratons": 2}, ["demo.iteratons", "did you mean 'iterations'"]),
        ({"iterations": 0}, ["demo.iterations", "found: 0", "1 to inf"]),
        ({"engine": "spm"}, ["demo.engine", "'spm'", "embedded, fsl"]),
        ({"nested": {"width_mm": "wide"}}, ["demo.nested.width_mm", "'wide'", "number"]),
        ({"nested": {"with_mm": 2}}, ["demo.nested.with_mm", "did you mean 'width_mm'"]),
    ],
)
def test_message_names_key_value_allowed_and_remedy(values, expected):
    with pytest.raises(SettingError) as caught:
        check_block("demo", values, SCHEMA)
    assert all(part in str(caught.value) for part in expected), str(caught.value)


def test_unknown_block_is_refused_with_a_guess():
    with pytest.raises(SettingError, match="did you mean 'study'"):
        check_config({"studdy": {}})


def test_numbers_from_the_command_line_are_read_as_numbers():
    filled = check_block("demo", {"iterations": "2", "engine": "fsl", "nested": {"width_mm": "2.5"}}, SCHEMA)
    assert filled == {"iterations": 2, "engine": "fsl", "nested": {"width_mm": 2.5}}
    with pytest.raises(SettingError, match="found: 'two'"):
        check_block("demo", {"iterations": "two"}, SCHEMA)
