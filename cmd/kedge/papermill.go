package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// engine is the module that papermill finds as its engine kedge.
//
//go:embed papermill/kedge_papermill.py
var engine string

const (
	engineName    = "kedge_papermill"
	engineVersion = "1"
)

// packages prints the folder in which a Python finds packages that are installed at a place: below the prefix in its
// argument, for the user, or in its environment.
const packages = `import site, sys, sysconfig
where, prefix = sys.argv[1:]
if where == "prefix":
    print(sysconfig.get_path("purelib", "posix_prefix", {"base": prefix, "platbase": prefix}))
elif where == "user" and sys.prefix == sys.base_prefix:
    print(site.getusersitepackages())
else:
    print(sysconfig.get_path("purelib"))`

// packages is the folder for Python packages that is meant by the flags.
func (p *place) packages(ctx context.Context, python string) (string, error) {
	where, prefix := "user", ""
	if p.sysPrefix {
		where = "environment"
	} else if p.prefix != "" {
		var err error
		if prefix, err = filepath.Abs(p.prefix); err != nil {
			return "", fmt.Errorf("%w: %w", errUnusable, err)
		}
		where = "prefix"
	}
	dir, err := exec.CommandContext(ctx, python, "-c", packages, where, prefix).Output()
	if err != nil {
		return "", fmt.Errorf("python %s: %w: %w", python, errUnusable, err)
	}
	return strings.TrimSpace(string(dir)), nil
}

// engineFiles are what makes the engine a package, by their paths in the folder for packages.
func engineFiles(program string) map[string]string {
	info := fmt.Sprintf("%s-%s.dist-info", engineName, engineVersion)
	files := map[string]string{
		engineName + ".py":                      strings.ReplaceAll(engine, "@KEDGE@", program),
		filepath.Join(info, "METADATA"):         "Metadata-Version: 2.1\nName: kedge-papermill\nVersion: " + engineVersion + "\n",
		filepath.Join(info, "INSTALLER"):        "kedge\n",
		filepath.Join(info, "entry_points.txt"): "[papermill.engine]\nkedge = " + engineName + ":KedgeEngine\n",
	}
	record := ""
	for name := range files {
		record += name + ",,\n"
	}
	files[filepath.Join(info, "RECORD")] = record + filepath.Join(info, "RECORD") + ",,\n"
	return files
}

// installEngine writes papermill's engine below dir and returns the path of its module.
func installEngine(dir string) (module string, err error) {
	program, err := os.Executable()
	if err == nil {
		err = removeEngine(dir)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", errUnusable, err)
	}
	for name, content := range engineFiles(program) {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = target{path, 0o644}.write([]byte(content))
		}
		if err != nil {
			return "", fmt.Errorf("%w: %w", errUnusable, err)
		}
	}
	return filepath.Join(dir, engineName+".py"), nil
}

// removeEngine takes away what installEngine of any version has written. There may be nothing.
func removeEngine(dir string) error {
	infos, err := filepath.Glob(filepath.Join(dir, engineName+"-*.dist-info"))
	for _, info := range infos {
		err = errors.Join(err, os.RemoveAll(info))
	}
	if e := os.Remove(filepath.Join(dir, engineName+".py")); e != nil && !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}
