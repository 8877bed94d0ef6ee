"""Steps that only the guides of older releases (seeds s001 to s004) use; see steps.py for how a kind is registered."""
from steps import step  # noqa: F401  (used by the kinds below)
