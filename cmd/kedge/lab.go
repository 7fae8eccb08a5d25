package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"kedge/kernel"
	"kedge/live"
	"kedge/notebook"
	"kedge/snapshotter"
)

// startLab starts JupyterLab on a notebook that was opened, in its folder. With
// a cell the page restores up to that, so that the next one goes on from there.
// Where the notebook's kernel is not Kedge's, this JupyterLab gets one that is.
func startLab(ctx context.Context, errOut io.Writer, path, cell, once string) error {
	program, err := exec.LookPath("jupyter")
	if err != nil {
		return fmt.Errorf("%w: jupyter is not on PATH; open %s by hand", errUnusable, path)
	}
	cmd := exec.CommandContext(ctx, program, "lab", filepath.Base(path))
	cmd.Cancel = func() error {
		if isTerminal(os.Stdin) {
			return nil // an interrupt has reached it too, and it asks
		}
		return cmd.Process.Signal(syscall.SIGTERM)
	}
	cmd.Dir, cmd.Env = filepath.Dir(path), os.Environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
	place, err := ownKernel(ctx, path)
	if err != nil {
		fmt.Fprintf(errOut, "kedge: its cells run in JupyterLab without being restored: %s\n", printable(oneLine(err.Error())))
	}
	if place != "" {
		jupyter := filepath.Join(place, "share", "jupyter")
		if others := os.Getenv("JUPYTER_PATH"); others != "" {
			jupyter += string(os.PathListSeparator) + others
		}
		cmd.Env = append(cmd.Env, "JUPYTER_PATH="+jupyter)
	}
	if cell != "" {
		to, err := json.Marshal(live.Continue{Notebook: path, Cell: cell, Once: once})
		if err != nil {
			return err
		}
		cmd.Env = append(cmd.Env, continueVariable+"="+string(to))
	}
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: jupyter lab: %w; open %s by hand", errUnusable, err, path)
	}
	return nil
}

// continueVariable tells the kernels of a JupyterLab where an opened notebook goes on.
const continueVariable = "KEDGE_CONTINUE"

// continues is what continueVariable says. It is taken out of the environment, which the notebook's code sees.
func continues() (c live.Continue) {
	text := os.Getenv(continueVariable)
	_ = os.Unsetenv(continueVariable) // fails on no valid name only
	_ = json.Unmarshal([]byte(text), &c)
	return c
}

// ownKernel is a prefix of this home that holds a Kedge kernel by the name that
// the notebook asks for, and the extension; "" if Jupyter has both already.
func ownKernel(ctx context.Context, path string) (string, error) {
	doc, _, err := notebook.ReadFile(ctx, path)
	if err != nil {
		return "", err
	}
	name := cmp.Or(doc.KernelName(), "python3")
	spec, err := kernel.FindSpec(name, os.Environ())
	if _, ours := spec.Wrapped(); err == nil && ours {
		return "", nil
	}
	python := "python3"
	if err == nil {
		command, args := ipykernel(spec)
		if len(command) != 1 || len(args) != 2 {
			return "", fmt.Errorf("its kernel %s is not Kedge's, and no plain ipykernel; see kedge install", name)
		}
		python = command[0]
	}
	place := filepath.Join(snapshotter.DefaultDir(), "lab")
	return place, runInstall(ctx, io.Discard, io.Discard, []string{"--prefix", place, "--python", python, "--as", name})
}
