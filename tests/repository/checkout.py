"""The checkout that a test of the repository looks at.

These tests read the tree itself, not a list of inputs, so that a new file cannot be forgotten. They
therefore run every time (Bazel tag `external`).
"""

import os

# In a test the WORKSPACE file is a link into the checkout; so is this file, when run by hand.
_HERE = "WORKSPACE" if os.path.exists("WORKSPACE") else os.path.join(
    os.path.dirname(os.path.realpath(__file__)), "../../WORKSPACE")
ROOT = os.path.dirname(os.path.realpath(_HERE))

CODE_FOLDERS = ("tinkex", "torch_ext", "examples", "tests")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def files(*folders, suffixes):
    """Paths of all files below some folders of the checkout, relative to it, in order."""
    found = []
    for folder in folders:
        for parent, _, names in os.walk(os.path.join(ROOT, folder)):
            if "__pycache__" not in parent:
                found += [os.path.relpath(os.path.join(parent, name), ROOT)
                          for name in names if name.endswith(tuple(suffixes))]
    return sorted(found)


def sources(*folders):
    return files(*folders, suffixes=(".cc", ".h"))
