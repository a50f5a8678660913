"""What tests of the evaluation folder share with those of the pipeline."""

from tests.pipeline.conftest import main_in, sqlite_template

__all__ = ["main_in", "sqlite_template"]
