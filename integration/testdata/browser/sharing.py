"""Sharing a snapshot from JupyterLab and Notebook 7: what is asked before, and the link.

usage: sharing.py FOLDER [SCREENSHOTS]. The folder is made; links.json in it gets the links: {"whole", "stateless", "addressed"}, the last for the
key of KEDGE_TEST_READER.
"""
import json
import os
import sys

from extension import Lab, write
from front import browser, served

SECRET = "AKIA" + 4 * "ABC2"
CELLS = [
    ("a", ["step:read"], "rows = [r.strip() for r in open('in.csv')]\nprint(len(rows), 'rows for {front}')"),
    ("b", ["step:fit"], "score = {'total': len(rows) * 21}\nopen('score.txt', 'w').write(str(score))\nprint(score)"),
    ("c", ["step:plain"], "words = ['no', 'secret']"),
]


def question(nb):
    """The text of the question, once it is known what would be published."""
    nb.page.wait_for_selector(".kedge-Share table")
    return nb.page.inner_text(".kedge-Share")


def given(nb):
    """The link of the dialog that gives it, and its text; closes it."""
    link = nb.page.wait_for_selector(".kedge-Link").input_value()
    text = nb.page.inner_text(".jp-Dialog-content")
    nb.page.click(".jp-Dialog .jp-mod-accept")
    nb.page.wait_for_selector(".jp-Dialog", state="detached")
    return link, text


def check(nb, key, shots):
    nb.until("stale", "stale", "")
    nb.run_all()
    nb.until("fresh", "", "")
    nb.select(1)

    # The button of the cell; a secret is named, and has to be agreed to.
    nb.page.click(".jp-cell-toolbar [data-jp-item-name=kedge-share]:visible")
    text = question(nb)
    for word in ("after “fit”", "rows, score", "in.csv", "score.txt", "AWS access key in file in.csv", "AWS access key in variable rows"):
        assert word in text, (word, text)
    if shots:
        nb.page.screenshot(path=os.path.join(shots, "lab-share.png"))
    nb.page.click(".jp-Dialog .jp-mod-accept")
    nb.page.wait_for_selector(".kedge-mod-lacks")
    nb.page.check(".kedge-Share [name=secrets]")
    nb.page.select_option(".kedge-Share select", "1d")
    nb.page.click(".jp-Dialog .jp-mod-accept")
    whole, text = given(nb)
    assert "this machine only" in text and "in the clipboard" in text, text
    assert nb.page.evaluate("() => navigator.clipboard.readText()") == whole

    # By the command, without variables; what is not to be shared is not.
    nb.start("kedge:share")
    question(nb)
    nb.page.check(".kedge-Share [name=stateless]")
    nb.page.wait_for_function("() => document.querySelector('.kedge-Share table')?.innerText.includes('0 variables')")
    nb.page.check(".kedge-Share [name=secrets]")
    nb.page.click(".jp-Dialog .jp-mod-accept")
    stateless, text = given(nb)
    nb.ended()
    assert "was started" not in text, text

    # For one reader, whose key it has to be.
    nb.start("kedge:share")
    question(nb)
    nb.page.check(".kedge-Share [name=secrets]")
    nb.page.fill(".kedge-Share [name=reader]", "somebody")
    nb.page.wait_for_selector(".kedge-Share [name=reader]:invalid")
    nb.page.fill(".kedge-Share [name=reader]", key)
    nb.page.click(".jp-Dialog .jp-mod-accept")
    addressed, text = given(nb)
    nb.ended()
    other = nb.page.context.new_page()
    other.goto(addressed)
    other.get_by_text("for one person").wait_for()
    other.close()

    nb.start("kedge:share")
    question(nb)
    nb.page.click(".jp-Dialog .jp-mod-reject")
    nb.ended()

    # A cell that has changed since says so.
    nb.page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.setSource('score = {}') }")
    nb.until("fresh", "stale", "")
    nb.start("kedge:share")
    assert "has changed since" in question(nb)
    nb.page.click(".jp-Dialog .jp-mod-reject")
    nb.ended()
    return {"whole": whole, "stateless": stateless, "addressed": addressed}


def main():
    key = os.environ["KEDGE_TEST_READER"]
    folder, shots = sys.argv[1], (sys.argv[2:] + [""])[0]
    notebooks = os.path.join(folder, "notebooks")
    os.makedirs(notebooks)
    with open(os.path.join(notebooks, "in.csv"), "w") as f:
        f.write(f"a,1\nkey,{SECRET}\n")
    links = {}
    with served(notebooks, folder) as address, browser(viewport={"width": 1180, "height": 900}, permissions=["clipboard-read", "clipboard-write"]) as page:
        for name, where in {"lab": "lab/tree", "notebook": "notebooks"}.items():
            write(os.path.join(notebooks, f"{name}.ipynb"), name, cells=CELLS)
            links[name] = check(Lab(page(), f"{address}/{where}/{name}.ipynb?token=t"), key, shots if name == "lab" else "")
            print(name, "ok", flush=True)
    with open(os.path.join(folder, "links.json"), "w") as f:
        json.dump(links, f)


if __name__ == "__main__":
    main()
