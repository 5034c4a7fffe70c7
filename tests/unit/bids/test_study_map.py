"""The study map is read as BIDScoin reads it, and mistakes in it are named."""

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from scan2map.bids.study_map import attribute_text, read_study_map
from scan2map.errors import SettingError

MAP = """
Options: {{bidscoin: {{bidsignore: ['*_ct.*']}}}}
DICOM:
  participant: {{}}
  anat:
  - attributes: {{Modality: MR, SeriesDescription: '{pattern}'}}
    bids: {{suffix: T1w}}
    meta: {{SomeFlag: false}}
  fmap:
  - attributes: {{SeriesDescription: 'both'}}
    bids: {{suffix: epi}}
  exclude:
  - attributes: {{SeriesDescription: 'unwanted.*'}}
    bids: {{suffix: ''}}
    meta: {{_reason: not needed}}
"""


def header(description, **values):
    dataset = Dataset()
    dataset.Modality, dataset.SeriesDescription = "MR", description
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


@pytest.fixture
def study_map(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text(MAP.format(pattern="(?i).*t1.*|both|unwanted_t1"))
    return read_study_map(path)


def test_the_whole_value_must_match(study_map):
    assert study_map.match(header("My_T1w")).suffix == "T1w"
    assert study_map.match(header("xboth")) is None
    assert study_map.match(header("My_T1w", Modality="CT")) is None


def test_what_is_left_out_comes_first_then_fmap(study_map):
    left_out = study_map.match(header("unwanted_t1"))
    assert (left_out.is_left_out, left_out.reason) == (True, "not needed")
    assert study_map.match(header("both")).datatype == "fmap"


def test_options_and_metadata_are_kept(study_map):
    assert study_map.bidsignore == ("*_ct.*",)
    assert study_map.match(header("t1")).meta == {"SomeFlag": False}


def test_attributes_are_found_by_keyword_tag_and_depth():
    nested = Dataset()
    nested.add_new(0x00211175, "CS", ["M", "NORM"])
    outer = header("x", ImageType=["ORIGINAL", "PRIMARY"])
    outer.ReferencedImageSequence = Sequence([nested])
    assert attribute_text(outer, "ImageType") == "['ORIGINAL', 'PRIMARY']"
    assert "NORM" in attribute_text(outer, "(0021,1175)")
    assert attribute_text(outer, "EchoTime") == ""


@pytest.mark.parametrize("content", ["a: [", "DICM: {}", "- 1\n- 2", MAP.format(pattern="((")])
def test_a_broken_map_is_a_setting_error(tmp_path, content):
    path = tmp_path / "map.yaml"
    path.write_text(content)
    with pytest.raises(SettingError, match=r"map\.yaml"):
        read_study_map(path)


def test_a_missing_map_is_a_setting_error(tmp_path):
    with pytest.raises(SettingError, match="missing"):
        read_study_map(tmp_path / "nowhere.yaml")


def test_the_shipped_maps_can_be_read(root):
    assert {entry.suffix for entry in read_study_map(root / "config/bidsmap.yaml").entries} >= {"T1w", "dwi", "asl"}
    assert {entry.suffix for entry in read_study_map(root / "config/xa30/bidsmap.yaml").entries} >= {
        "T1w",
        "dwi",
        "asl",
    }
