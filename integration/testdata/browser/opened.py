"""JupyterLab as kedge open --lab starts it: the page restores up to the snapshot, and the next cell goes on from it.

usage: opened.py FOLDER KEDGE LINK [SCREENSHOTS]. The folder is made, and holds Jupyter's settings and what is opened.
"""
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

from extension import Lab
from front import browser

CONFIG = """
c.ServerApp.open_browser = False
c.ServerApp.allow_root = True
c.ServerApp.port = {port}
c.IdentityProvider.token = "t"
c.LabApp.expose_app_in_browser = True
"""


def listed(address):
    """The names in the server's folder, once it answers."""
    for _ in range(200):
        try:
            with urllib.request.urlopen(address) as answer:
                return [c["name"] for c in json.load(answer)["content"]]
        except OSError:
            time.sleep(.1)
    raise SystemExit(f"{address} does not answer")


def main():
    folder, kedge, link = sys.argv[1:4]
    config = os.path.join(folder, "config")
    os.makedirs(config)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    for name in ("jupyter_lab_config.py", "jupyter_server_config.py"):
        with open(os.path.join(config, name), "w") as f:
            f.write(CONFIG.format(port=port))
    env = {**os.environ, "JUPYTER_CONFIG_DIR": config, "JUPYTER_RUNTIME_DIR": os.path.join(folder, "runtime"), "JUPYTERLAB_WORKSPACES_DIR": os.path.join(folder, "workspaces"),
           "JUPYTERLAB_SETTINGS_DIR": os.path.join(folder, "settings")}
    into = os.path.join(folder, "into")
    process = subprocess.Popen([kedge, "open", link, "--into", into, "--lab", "--yes", "--json"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if "http://127.0.0.1" in line:
                break
        else:
            raise SystemExit("it ended:\n" + "".join(said))
        threading.Thread(target=lambda: said.extend(process.stderr), daemon=True).start()  # else it would wait for us to read
        address = line[line.index("http://127.0.0.1"):].split("/lab")[0]
        names = listed(f"{address}/api/contents?token=t")
        assert "nb.ipynb" in names, names
        with browser(viewport={"width": 1180, "height": 900}) as page:
            nb = Lab(page(), f"{address}/lab/tree/nb.ipynb?token=t")
            nb.until("restored", "restored", "restored", "restored", "restored", "")
            assert nb.ask("(model.score(), len(large), 'KEDGE_CONTINUE' in __import__('os').environ)") == "(41, 8388608, False)", nb.ask("dir()")
            nb.type(5, "rows.append(3)\nprint(model.score() + len(rows), type(model).__name__)")
            nb.command("notebook:run-cell")
            nb.page.wait_for_function("() => jupyterapp.shell.currentWidget.content.widgets[5].model.outputs.length > 0")
            outputs = nb.cells()[5][2]
            assert outputs[0]["text"] == "44 Model\n", outputs
            nb.until("restored", "restored", "restored", "restored", "restored", "fresh")  # of the step above, though nobody has saved it
            if len(sys.argv) > 4:
                nb.page.screenshot(path=os.path.join(sys.argv[4], "lab-opened.png"))

            # Once: what was restored is not when the kernel is restarted.
            nb.restart()
            nb.page.wait_for_timeout(2000)
            assert "not defined" in nb.ask("model"), nb.ask("model")
    except BaseException:
        print("".join(said), file=sys.stderr)
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


if __name__ == "__main__":
    main()
