package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kedge/kernel"
	"kedge/kernel/observe"
	"kedge/share"
	"kedge/snapshotter"
)

const doctorUsage = `usage: kedge doctor [--json]

Checks what kedge needs on this machine, and says what to do about what is
missing. Exits 1 if something keeps notebooks from running.

examples:
  kedge doctor
  kedge doctor --json | jq '.checks[] | select(.status != "ok")'
`

// errProblems says that doctor found what keeps notebooks from running.
var errProblems = errors.New("notebooks cannot be run yet; see what to do above")

const (
	lowSpace      = 1 << 30 // bytes free below which doctor warns
	pythonTimeout = 20 * time.Second
)

// finding is the result of one check of doctor. A problem keeps notebooks from running.
type finding struct {
	Name   string `json:"name"`
	Status string `json:"status"` // ok, warning or problem
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"` // what to do
}

// doctorReport is the output of kedge doctor --json.
type doctorReport struct {
	OK     bool      `json:"ok"`
	Key    string    `json:"key"` // this home's public key, by which others trust what it shares; empty if there is none
	Checks []finding `json:"checks"`
}

func doctorCommand() command {
	return command{name: "doctor", short: "check this machine", usage: doctorUsage, run: runDoctor}
}

func runDoctor(ctx context.Context, out, _ io.Writer, args []string) error {
	fs := flag.NewFlagSet("doctor", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "")
	args, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return fmt.Errorf("%w: doctor takes no arguments", errUsage)
	}
	report := doctorReport{OK: true}
	report.Checks = append(checkStore(ctx, snapshotter.DefaultDir()), finding{"version", "ok", thisBuild().String(), ""},
		checkLibrary(ctx, "python3"), checkPython(ctx, "python3"), checkSharedMemory("/dev/shm"))
	report.Checks = append(report.Checks, checkKernels(ctx, os.Environ())...)
	report.Checks = append(report.Checks, checkLabextension(os.Environ()))
	key, found := checkKey(keyPath(snapshotter.DefaultDir()))
	report.Key, report.Checks = key, append(report.Checks, found)
	for _, f := range report.Checks {
		report.OK = report.OK && f.Status != "problem"
	}
	if *asJSON {
		err = writeJSON(out, report)
	} else {
		err = writeFindings(out, report.Checks)
	}
	if err == nil && !report.OK {
		return errProblems
	}
	return err
}

// checkKey is this home's public key, which it makes if there is none.
func checkKey(path string) (string, finding) {
	signer, err := share.LoadSigner(path)
	if err != nil {
		return "", finding{"key", "warning", err.Error(), "correct it, or nothing can be shared or opened"}
	}
	text := share.KeyText(signer.Public())
	return text, finding{"key", "ok", text, ""}
}

func writeFindings(out io.Writer, findings []finding) error {
	for _, f := range findings {
		line := fmt.Sprintf("%-7s  %s: %s", f.Status, f.Name, f.Detail)
		if f.Fix != "" {
			line += "\n         to do: " + f.Fix
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

// checkStore opens the store in dir, which makes it if there is none.
func checkStore(ctx context.Context, dir string) []finding {
	cfg, err := storeConfig(dir)
	if err != nil {
		return []finding{{"store", "problem", err.Error(), "correct that setting"}}
	}
	store, err := snapshotter.Open(ctx, cfg)
	if err != nil {
		return []finding{{"store", "problem", err.Error(), storeRemedy(err)}}
	}
	quota := checkQuota(store, dir)
	if err := store.Close(); err != nil {
		return []finding{{"store", "problem", err.Error(), ""}}
	}
	format, err := os.ReadFile(filepath.Join(dir, "VERSION"))
	if err != nil {
		return []finding{{"store", "problem", err.Error(), "make the folder readable"}}
	}
	list := []finding{{"store", "ok", fmt.Sprintf("%s, format %s", dir, strings.TrimSpace(string(format))), ""}}
	return append(list, quota, checkWritable(dir), checkSpace(dir))
}

// checkQuota says what the store takes, may take, and who has it open.
func checkQuota(store *snapshotter.Store, dir string) finding {
	const name = "quota"
	size, err := store.Size()
	if err != nil {
		return finding{name, "warning", err.Error(), ""}
	}
	quota, err := store.Quota()
	if err != nil {
		return finding{name, "warning", err.Error(), ""}
	}
	holders, err := snapshotter.Holders(dir)
	if err != nil {
		return finding{name, "warning", err.Error(), ""}
	}
	others := ""
	if n := len(holders) - 1; n > 0 { // we are one
		others = fmt.Sprintf("; open in %d other processes", n)
	}
	if quota < 0 {
		return finding{name, "ok", formatBytes(size) + " used, no limit" + others, ""}
	}
	detail := fmt.Sprintf("%s of %s used%s", formatBytes(size), formatBytes(quota), others)
	if size > quota {
		return finding{name, "warning", detail, "run `kedge store gc`, or set KEDGE_QUOTA to more"}
	}
	return finding{name, "ok", detail, ""}
}

func checkWritable(dir string) finding {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		return finding{"writable", "problem", err.Error(), "set KEDGE_HOME to a folder that you may write"}
	}
	return finding{"writable", "ok", dir, ""}
}

func checkSpace(dir string) finding {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return finding{"free space", "warning", err.Error(), ""}
	}
	free := int64(st.Bavail) * st.Bsize
	if free < lowSpace {
		return finding{"free space", "warning", formatBytes(free), "make room, or set KEDGE_HOME to a folder on a larger disk"}
	}
	return finding{"free space", "ok", formatBytes(free), ""}
}

func checkLibrary(ctx context.Context, python string) finding {
	const name = "observing library"
	dir, err := os.MkdirTemp("", "kedge-doctor-*")
	if err != nil {
		return finding{name, "problem", err.Error(), "set TMPDIR to a folder that you may write"}
	}
	defer os.RemoveAll(dir)
	lib := filepath.Join(dir, "lib")
	if _, err = observe.Library(lib); err == nil {
		ctx, cancel := context.WithTimeout(ctx, pythonTimeout)
		defer cancel()
		err = observe.Check(ctx, lib, python, "-c", "")
	}
	switch {
	case errors.Is(err, observe.ErrUnseen):
		return finding{name, "warning", err.Error() + ": its cells run each time",
			"give kedge run --python a dynamically linked interpreter for this machine"}
	case errors.Is(err, exec.ErrNotFound):
		return finding{name, "ok", "built in; not tried, for there is no " + python, ""}
	case errors.Is(err, observe.ErrNotBuilt):
		return finding{name, "problem", "not built into this program", "run `make build` and use bin/kedge"}
	case err != nil:
		return finding{name, "problem", err.Error(), ""}
	}
	return finding{name, "ok", "built in", ""}
}

// checkPython looks for an interpreter that has ipykernel, then for an installed
// kernelspec: without either, notebooks run only with --python or --kernel.
func checkPython(ctx context.Context, python string) finding {
	const name = "python"
	ctx, cancel := context.WithTimeout(ctx, pythonTimeout)
	defer cancel()
	const ask = "import sys, ipykernel; print(sys.executable, sys.version.split()[0], 'ipykernel', ipykernel.__version__)"
	answer, err := exec.CommandContext(ctx, python, "-c", ask).Output()
	if err == nil {
		return finding{name, "ok", strings.TrimSpace(string(answer)), ""}
	}
	if spec, err := kernel.FindSpec("python3", os.Environ()); err == nil {
		return finding{name, "ok", "kernelspec python3 in " + spec.Dir, ""}
	}
	return finding{name, "warning", python + " has no ipykernel, and no kernelspec python3 is installed",
		"run `python3 -m pip install ipykernel` in the notebook's environment, or give kedge run --python PATH"}
}

func checkSharedMemory(dir string) finding {
	const name = "shared memory"
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return finding{name, "warning", dir + " is missing", "mount a tmpfs there"}
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return finding{name, "warning", dir + " cannot be written", "run `chmod 1777 " + dir + "` as its owner"}
	}
	return finding{name, "ok", dir, ""}
}
