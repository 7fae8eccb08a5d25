package observe

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// The facts of a machine that code can ask for, beside those that are named by
// the path of the file that has them.
const (
	FactSystem     = "system"     // the kernel and its release, the host's name
	FactIDs        = "ids"        // who runs, by number
	FactUser       = "user"       // the same by name
	FactZone       = "zone"       // the zone of the clock
	FactProcessors = "processors" // how many there are, and which of them may be used
)

// factOf is the fact that whoever opens path, or looks at it, asks for; "" if
// it is none. It is a reviewed list: the rest of a machine's paths is no
// observation.
func factOf(path string) string {
	switch path {
	case "/etc/localtime", "/etc/timezone":
		return FactZone
	case "/proc/version", "/proc/version_signature", "/proc/sys/kernel/osrelease", "/proc/sys/kernel/version", "/proc/sys/kernel/hostname",
		"/proc/sys/kernel/domainname":
		return FactSystem
	case "/usr/lib/os-release":
		return "/etc/os-release"
	case "/etc/os-release", "/etc/machine-id", "/etc/passwd", "/etc/group":
		return path
	}
	if strings.HasPrefix(path, "/sys/class/dmi/id/") || strings.HasPrefix(path, "/sys/devices/virtual/dmi/id/") {
		return "/sys/class/dmi/id/" + filepath.Base(path)
	}
	return ""
}

// Fact is what this machine answers to who asks for a fact of [Access.Facts]
// now. zone is the value of TZ, "" if it is not set.
func Fact(name, zone string) string {
	switch name {
	case FactSystem:
		return strings.Join(system(), "\x00")
	case FactIDs:
		groups, _ := os.Getgroups() // none if they cannot be told
		return fmt.Sprint(os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid(), groups)
	case FactUser:
		return whoRuns()
	case FactZone:
		return strings.Join([]string{zone, contents("/etc/localtime"), link("/etc/localtime"), contents("/etc/timezone"), zoneFile(zone)}, "\x00")
	case FactProcessors:
		return processors()
	}
	return contents(name)
}

// system is what uname says.
func system() []string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil // as on every machine that does not say
	}
	var parts []string
	for _, field := range [][65]byte{u.Sysname, u.Nodename, u.Release, u.Version, u.Machine, u.Domainname} {
		parts = append(parts, unix.ByteSliceToString(field[:]))
	}
	return parts
}

// whoRuns is asked for once: a process does not become another user's.
var whoRuns = sync.OnceValue(func() string {
	u, err := user.Current()
	if err != nil {
		return "" // as for every user without a name
	}
	return strings.Join([]string{u.Username, u.Name, u.HomeDir}, "\x00")
})

// processors says how many there are, which of them may be used, and what they are.
func processors() string {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		may.Zero() // then it is told by what is online
	}
	lines := []string{contents("/sys/devices/system/cpu/online"), fmt.Sprint(may)}
	for line := range strings.Lines(contents("/proc/cpuinfo")) {
		if strings.HasPrefix(line, "model name") || strings.HasPrefix(line, "flags") || strings.HasPrefix(line, "Features") {
			lines = append(lines, line)
		}
	}
	return strings.Join(slices.Compact(lines), "")
}

// zoneFile is what the file of a zone says that TZ names.
func zoneFile(zone string) string {
	name := strings.TrimPrefix(zone, ":")
	if name == "" {
		return ""
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join("/usr/share/zoneinfo", name)
	}
	return contents(name)
}

// contents are those of a small file, "" if there is none.
func contents(path string) string {
	data, _ := os.ReadFile(path) // what cannot be read has nothing to say
	return string(data)
}

func link(path string) string {
	target, _ := os.Readlink(path) // "" if it is none
	return target
}
