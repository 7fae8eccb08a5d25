package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
)

// guardScript waits for a line on stdin. If its end comes first we were killed: then it ends the process group and
// removes the folders. Signals to our own descendants must not end it before.
const guardScript = `trap '' INT TERM HUP
read -r _ || { kill -s KILL -- "-$1" 2>/dev/null; shift; rm -rf -- "$@"; }`

// guard is a small process that outlives us if we are killed.
type guard struct {
	cmd *exec.Cmd
	end *os.File // closed by our death
}

func startGuard(group int, folders ...string) (*guard, error) {
	in, end, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	defer in.Close()
	folders = slices.DeleteFunc(folders, func(dir string) bool { return dir == "" })
	cmd := exec.Command("/bin/sh", append([]string{"-c", guardScript, "kedge-guard", strconv.Itoa(group)}, folders...)...)
	cmd.Dir, cmd.Env, cmd.Stdin = "/", []string{"PATH=/usr/bin:/bin"}, in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = end.Close()
		return nil, fmt.Errorf("start guard: %w", err)
	}
	return &guard{cmd, end}, nil
}

// release ends the guard without it doing anything. It may be called on nil, and again.
func (g *guard) release() {
	if g == nil || g.cmd.ProcessState != nil {
		return
	}
	_, _ = g.end.WriteString("\n")
	_ = g.end.Close()
	_ = g.cmd.Wait()
}
