from dr_edge.api import OpenedBundle as OpenedBundle
from dr_edge.api import build_model as build_model
from dr_edge.api import open_bundle as open_bundle
from dr_edge.api import read_records as read_records

__all__ = ["OpenedBundle", "build_model", "open_bundle", "read_records"]
