package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"runtime/debug"
)

const versionUsage = `usage: kedge version [--json]

Prints the version of kedge, the commit it was built from, and that of Go.

examples:
  kedge version
  kedge version --json | jq -r .revision
`

// build is the output of kedge version --json.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"` // empty if built outside a repository
	Modified bool   `json:"modified"` // the working tree differed from the revision
	Go       string `json:"go"`
}

func versionCommand() command {
	return command{name: "version", short: "print the version", usage: versionUsage, run: runVersion}
}

func runVersion(_ context.Context, out, _ io.Writer, args []string) error {
	fs := flag.NewFlagSet("version", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "")
	args, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return fmt.Errorf("%w: version takes no arguments", errUsage)
	}
	b := thisBuild()
	if *asJSON {
		return writeJSON(out, b)
	}
	_, err = fmt.Fprintln(out, b)
	return err
}

// thisBuild is what the running program knows about itself.
func thisBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return build{Version: "unknown", Go: "unknown"}
	}
	b := build{Version: info.Main.Version, Go: info.GoVersion}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// String is one line for people.
func (b build) String() string {
	text := "kedge " + b.Version
	if b.Revision != "" {
		text += " " + b.Revision[:min(len(b.Revision), shownDigits)]
	}
	if b.Modified {
		text += " (modified)"
	}
	return text + " " + b.Go
}
