"""papermill --engine kedge: the notebook's kernel behind Kedge, told which cell of which notebook it runs.

Written by kedge install --papermill.
"""
import os
import sys

KEDGE = "@KEDGE@"


def __getattr__(name):
    # papermill reads its engines while it is imported: what needs it is made when it is asked for.
    if name == "KedgeEngine":
        globals()[name] = _engine()
        return globals()[name]
    raise AttributeError(name)


def behind(spec):
    """Have a kernelspec start its kernel behind Kedge, if it does not yet."""
    if spec.argv[1:2] == ["kernel"] and os.path.basename(spec.argv[0]).startswith("kedge"):
        return
    which = ["--kernel", spec.name]
    if spec.argv[1:3] == ["-m", "ipykernel_launcher"]:
        python = spec.argv[0]
        which = ["--python", sys.executable if python in ("python", "python3") else python]
    spec.argv = [KEDGE, "kernel", "-f", "{connection_file}", *which]
    spec.interrupt_mode = "message"


def _manager(path):
    """A class of kernel managers for the notebook at path, or None, and the clients that they make."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    clients = []

    class Specs(KernelSpecManager):
        def get_kernel_spec(self, kernel_name):
            spec = super().get_kernel_spec(kernel_name)
            spec.name = kernel_name
            behind(spec)
            return spec

    class Manager(AsyncKernelManager):
        def _kernel_spec_manager_default(self):
            return Specs(data_dir=self.data_dir)

        async def start_kernel(self, **options):
            env = dict(options.pop("env", os.environ), KEDGE_NOTEBOOK=path or "")
            await super().start_kernel(env=env, **options)

        def client(self, **options):
            clients.append(super().client(**options))
            return clients[-1]

    return Manager, clients


def _engine():
    from papermill.engines import NBClientEngine

    class KedgeEngine(NBClientEngine):
        """papermill's own engine, but that each request has the id and the tags of its cell."""

        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, **options):
            path = options.get("input_path")
            found = isinstance(path, (str, os.PathLike)) and os.path.isfile(path)
            manager, clients = _manager(os.path.abspath(path) if found else None)

            def tell(cell, cell_index):
                told = {"tags": list(cell.metadata.get("tags", [])), "cellId": cell.get("id", "")}
                for client in clients:
                    client.session.metadata = told

            return super().execute_managed_notebook(
                nb_man, kernel_name, kernel_manager_class=manager, on_cell_execute=tell, **options)

    return KedgeEngine
