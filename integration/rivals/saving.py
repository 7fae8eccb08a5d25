"""How the rivals save and load a notebook's variables, each as its documentation says; imported by the kernels that compare.py drives."""

import os
import pickle
from collections.abc import Iterable
from typing import Any

import cloudpickle
import dill
import joblib


def save(system: str, variables: dict[str, Any], names: Iterable[str], path: str) -> None:
    """Write variables so that they outlast a crash of the machine."""
    state = {n: variables[n] for n in names}
    if system == "dill":
        dill.dump_module(path)  # the session, as it saves one
    elif system == "joblib":
        joblib.dump(state, path)  # compress=0, the fastest
    else:
        with open(path, "wb") as file:
            (cloudpickle if system == "cloudpickle" else pickle).dump(state, file, protocol=5)
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def of(variables: dict[str, Any]) -> Any:
    """Whether a name is one of the notebook's own variables, and can be saved at all by these."""
    hidden = {*variables, "saving_of"}
    return lambda name: name not in hidden and name[0] != "_" and not isinstance(variables[name], type(os))


def load(system: str, variables: dict[str, Any], path: str) -> None:
    """Bring them back."""
    if system == "dill":
        dill.load_module(path)
    elif system == "joblib":
        variables.update(joblib.load(path, mmap_mode="c"))  # mapped where it can be, and writable
    else:
        with open(path, "rb") as file:
            variables.update(pickle.load(file))
