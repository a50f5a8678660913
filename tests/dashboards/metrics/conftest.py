"""The world's store, as the pages' tests have it."""

from tests.dashboards.web.conftest import own_file, world_file

__all__ = ["own_file", "world_file"]
