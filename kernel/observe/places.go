package observe

import (
	"path/filepath"
	"slices"
	"strings"
)

func under(path string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool {
		f = strings.TrimSuffix(f, "/")
		return path == f || strings.HasPrefix(path, f+"/")
	})
}

// MachinePath reports whether path, absolute and clean, belongs to the machine
// and not to the notebook: kernel file systems, locale, time zones, fonts,
// certificates, name service. It is a reviewed list.
func MachinePath(path string) bool {
	switch path {
	case "/", "/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random", "/dev/tty", "/dev/shm", "/dev/stdin", "/dev/stdout", "/dev/stderr",
		"/bin", "/sbin", "/lib", "/lib64",
		"/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services",
		"/etc/protocols", "/etc/localtime", "/etc/timezone", "/etc/passwd", "/etc/group", "/etc/mime.types",
		"/etc/os-release", "/usr/lib/os-release", "/etc/machine-id", "/etc/locale.alias", "/etc/locale.conf":
		return true
	}
	return strings.HasPrefix(path, "/etc/ld.so.") || strings.HasPrefix(path, "/dev/nvidia") || under(path, "/proc", "/sys", "/dev/pts", "/dev/fd", "/dev/dri",
		"/dev/kfd", "/dev/infiniband", "/etc/ssl",
		"/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/lib/ssl", "/etc/fonts",
		"/usr/share/fonts", "/usr/local/share/fonts", "/usr/share/fontconfig", "/usr/share/locale",
		"/usr/lib/locale", "/usr/share/i18n", "/usr/share/zoneinfo", "/usr/share/mime")
}

// SystemFolders hold what the machine's packages are made of: what is read
// there follows from the programs that are run, so that it is no observation.
// A write there is one. It is a reviewed list; data lies elsewhere.
func SystemFolders() []string {
	return []string{"/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32", "/usr/libexec",
		"/usr/include", "/usr/share/perl", "/usr/share/perl5", "/usr/share/git-core", "/usr/share/terminfo", "/etc/terminfo",
		"/usr/share/misc", "/usr/share/file", "/usr/share/awk", "/usr/share/gcc", "/usr/share/bash-completion"}
}

// PythonStart reports whether path is one of those that an interpreter looks
// for where it might be installed.
func PythonStart(path string) bool {
	name := filepath.Base(path)
	return name == "pyvenv.cfg" || name == "pybuilddir.txt" || strings.HasSuffix(name, "._pth") ||
		strings.HasPrefix(name, "python3") && strings.HasSuffix(name, ".zip") || strings.HasPrefix(name, "libpython3")
}

// LibraryCache reports whether path is a cache that a library keeps for
// itself, so that neither its presence nor its contents change a result.
func LibraryCache(path, home string) bool {
	if strings.HasSuffix(path, ".pyc") || slices.Contains(strings.Split(path, "/"), "__pycache__") {
		return true
	}
	switch filepath.Ext(path) {
	case ".nbi", ".nbc": // numba's index and code
		return true
	}
	if home != "" && under(path, home+"/.cache/matplotlib", home+"/.config/matplotlib/fontlist", home+"/.cache/fontconfig",
		home+"/.fontconfig", home+"/.cache/numba") || under(path, home+"/.ipython") && !stored(strings.TrimPrefix(path, home)) {
		return true
	}
	if name, ok := strings.CutPrefix(path, "/dev/shm/"); ok {
		return strings.HasPrefix(name, "joblib_memmapping_folder_") || strings.HasPrefix(name, "sem.") ||
			strings.HasPrefix(name, "psm_")
	}
	return under(path, "/var/cache/fontconfig")
}

// stored reports whether path, below the home, is what a program keeps in IPython's
// database, by %store or get_ipython().db, beside what IPython itself keeps there.
func stored(path string) bool {
	_, key, ok := strings.Cut(path, "/db/")
	return ok && key != "dhist" && key != "rootmodules_cache"
}

// LibraryFolders are those that libraries make for themselves when they are imported, empty, if they are not there:
// matplotlib's, and what leads there. Who imports one again makes them again.
func LibraryFolders(home string) []string {
	return []string{home + "/.config/matplotlib", home + "/.config", home + "/.cache"}
}

// above reports whether path is one of the folders or leads to one.
func above(path string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool {
		return f == path || strings.HasPrefix(f, strings.TrimSuffix(path, "/")+"/")
	})
}

// MachineProgram reports whether the program at path only describes the
// machine (its processors, libraries and fonts), which a restored run does not
// depend on: libraries start such programs to size their pools.
func MachineProgram(path string) bool {
	switch filepath.Base(path) {
	case "lscpu", "ldconfig", "fc-list", "uname", "nproc":
		return true
	}
	return false
}
