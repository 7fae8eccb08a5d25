"""A notebook in JupyterLab or Notebook 7, in Debian's Chromium: driven by the application's own commands, and read from its own models."""
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading

from playwright.sync_api import sync_playwright

TIMEOUT = 60_000  # ms
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Notes what becomes of each cell that is asked for, in window.marks: {cell, kedge} in the order of the replies.
WATCH = """() => {
  const cells = new Map();
  window.marks = [];
  jupyterapp.shell.currentWidget.sessionContext.session.kernel.anyMessage.connect((_, {msg, direction}) => {
    if (direction === 'send' && msg.header.msg_type === 'execute_request') cells.set(msg.header.msg_id, msg.metadata.cellId);
    if (direction === 'recv' && msg.header.msg_type === 'execute_reply' && cells.has(msg.parent_header.msg_id))
      window.marks.push({cell: cells.get(msg.parent_header.msg_id), kedge: msg.metadata.kedge ?? null});
  });
}"""
READY = "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"


@contextlib.contextmanager
def served(folder, home, path="/"):
    """Jupyter's server on folder, below a path as JupyterHub has it, with its own settings below home; yields its address, without the token."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    settings = os.path.join(home, "lab-settings", "@jupyterlab", "apputils-extension")
    os.makedirs(settings, exist_ok=True)
    with open(os.path.join(settings, "notification.jupyterlab-settings"), "w") as f:
        json.dump({"fetchNews": "false"}, f)
    env = {**os.environ, "JUPYTER_CONFIG_DIR": os.path.join(home, "config"), "JUPYTER_RUNTIME_DIR": os.path.join(home, "runtime"),
           "JUPYTERLAB_SETTINGS_DIR": os.path.join(home, "lab-settings"), "JUPYTERLAB_WORKSPACES_DIR": os.path.join(home, "workspaces")}
    argv = [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
            "--IdentityProvider.token=t", f"--ServerApp.base_url={path}", f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True"]
    process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = served.said = []
    try:
        for line in process.stderr:
            said.append(line)
            if "is running at" in line:
                break
        else:
            raise SystemExit("the server ended:\n" + "".join(said))
        threading.Thread(target=lambda: said.extend(process.stderr), daemon=True).start()  # else it would wait for us to read
        yield f"http://127.0.0.1:{port}{path.rstrip('/')}"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def browser(*args, **page):
    """Chromium with these arguments; yields a function that opens a page with those options."""
    found = os.environ.get("KEDGE_TEST_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is on PATH: install Debian's chromium, or name one in KEDGE_TEST_CHROMIUM")
    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=found, args=["--no-sandbox", *args])
        try:
            context = chromium.new_context(**page)
            context.set_default_timeout(TIMEOUT)
            yield context.new_page
        finally:
            chromium.close()


class Notebook:
    """A notebook that is open in a page, with its kernel idle."""

    def __init__(self, page, address=None):
        self.page = page
        if address:
            page.goto(address)
        self.idle()
        self.watch()

    def watch(self):
        self.page.evaluate(WATCH)

    def idle(self):
        self.page.wait_for_function(READY)

    def command(self, name):
        """Returns once what the command does is done, for Run All that is when the last cell has ended."""
        self.page.evaluate("name => jupyterapp.commands.execute(name)", name)

    def run_all(self):
        """Run All; returns what became of each cell: [(id, status)]."""
        self.page.evaluate("() => { window.marks = [] }")
        self.command("notebook:run-all-cells")
        return [(m["cell"], m["kedge"] and m["kedge"]["status"]) for m in self.page.evaluate("window.marks")]

    def restart(self):
        """Restart the kernel, as a person does who is asked whether she means it."""
        self.page.evaluate("() => { window.restarted = jupyterapp.commands.execute('notebook:restart-kernel') }")
        self.page.click(".jp-Dialog .jp-mod-accept")
        self.page.evaluate("window.restarted")
        self.idle()

    def ask(self, code):
        """What code is, asked as front ends ask beside the cells."""
        return self.page.evaluate("""async code => {
          const future = jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute(
            {code: '', silent: false, store_history: false, user_expressions: {it: code}});
          const reply = await future.done;
          const it = reply.content.user_expressions.it;
          return it.status === 'ok' ? it.data['text/plain'] : JSON.stringify(it);
        }""", code)

    def complete(self, code):
        """How the kernel completes code."""
        return self.page.evaluate("""async code => (await jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestComplete(
          {code, cursor_pos: code.length})).content.matches""", code)

    def type(self, place, text):
        """Replace the text of the code cell at place by typing."""
        self.page.locator(".jp-CodeCell .cm-content").nth(place).click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)

    def widget(self):
        """What the only Jupyter widget shows, once it is there: nothing else may stand in its place."""
        box = self.page.locator(".jp-OutputArea-output .widget-hbox")
        box.wait_for()
        assert box.count() == 1 and self.page.get_by_text("model not found").count() == 0
        return box.inner_text().replace("\u2007", " ").strip()

    def entries(self):
        """What the panel lists of the snapshots: [(step, status, size)], newest first."""
        heads = self.page.locator(".kedge-Head").evaluate_all("nodes => nodes.map(n => [...n.children].slice(0, 3).map(c => c.textContent))")
        return [tuple(h) for h in heads]

    def cells(self):
        """The code cells as they would be saved: [(source, execution count, outputs)]."""
        saved = self.page.evaluate("() => jupyterapp.shell.currentWidget.context.model.toJSON()")["cells"]
        return [("".join(c["source"]), c["execution_count"], c["outputs"]) for c in saved if c["cell_type"] == "code"]


def both(folder, kind):
    """For JupyterLab and for Notebook 7: its name, the path of a notebook that the caller writes, and what opens that as a kind of Notebook."""
    notebooks = os.path.join(folder, "notebooks")
    os.makedirs(notebooks)
    with served(notebooks, folder) as address, browser() as page:
        for name, where in {"JupyterLab": "lab/tree", "Notebook 7": "notebooks"}.items():
            file = f"{where.split('/')[0]}.ipynb"
            yield name, os.path.join(notebooks, file), lambda where=where, file=file: kind(page(), f"{address}/{where}/{file}?token=t")
