#!/usr/bin/env python
"""Makes docs/taxi-jupyterlab.png: examples/taxi.ipynb run and run again in JupyterLab with the Kedge kernel.

usage: make screenshot. It needs what `make test` installs, and takes about a minute and a half.
"""
import os
import shutil
import subprocess
import sys
import tempfile

import nbformat

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "integration", "testdata", "browser"))
from front import Notebook, browser, served  # noqa: E402

# From the figure of the last step down to what %kedge says of the second run.
VIEW = {"width": 1180, "height": 1180}


def install(folder):
    """Jupyter's kernel python3 is Kedge's below folder; so are the store and all settings."""
    kedge = os.path.join(ROOT, "bin", "kedge")
    subprocess.run([kedge, "install", "--prefix", folder, "--python", sys.executable, "--as", "python3"],
                   check=True, stdout=subprocess.DEVNULL)
    os.environ.update(JUPYTER_PATH=os.path.join(folder, "share", "jupyter"), KEDGE_HOME=os.path.join(folder, "store"),
                      IPYTHONDIR=os.path.join(folder, "ipython"))


def copy_example(folder):
    os.makedirs(folder)
    nb = nbformat.read(os.path.join(ROOT, "examples", "taxi.ipynb"), 4)
    nb.cells.append(nbformat.v4.new_code_cell("%kedge status"))
    nbformat.write(nb, os.path.join(folder, "taxi.ipynb"))


def main():
    folder = tempfile.mkdtemp(prefix="kedge-screenshot-")
    try:
        install(folder)
        copy_example(os.path.join(folder, "work"))
        with served(os.path.join(folder, "work"), folder) as address, browser(viewport=VIEW) as page:
            page = page()
            nb = Notebook(page, f"{address}/lab/tree/taxi.ipynb?token=t")
            print("run:  ", nb.run_all())
            nb.restart()
            print("rerun:", nb.run_all())
            nb.command("application:toggle-left-area")
            page.evaluate("() => [...document.querySelectorAll('.jp-CodeCell')].at(-1).scrollIntoView({block: 'end'})")
            page.screenshot(path=os.path.join(ROOT, "docs", "taxi-jupyterlab.png"))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
