"""Write the pages that are generated from the schemas: ``config/README.md``."""

from scan2map import config


def write_reference() -> None:
    """Write ``config/README.md`` from the schemas."""
    page = config.SCHEMA_FOLDER.parents[1] / "config" / "README.md"
    page.write_text(config.reference_page())


if __name__ == "__main__":
    write_reference()
