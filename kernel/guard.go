package kernel

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// guardScript notes what it is told on stdin: folders, and process groups while they live. At the word "end" it ends. If
// the end of its input comes first we were killed: then it ends the groups and removes the folders. Signals to our own
// descendants must not end it before.
const guardScript = `trap '' INT TERM HUP
live=' '
while IFS= read -r line; do
  rest=${line#* }
  case $line in
    'folder '*) set -- "$@" "$rest" ;;
    'group '*) live="$live$rest " ;;
    'ended '*) live="${live%% $rest *} ${live#* $rest }" ;;
    end) exit ;;
  esac
done
for group in $live; do kill -s KILL -- "-$group" 2>/dev/null; done
rm -rf -- "$@" 2>/dev/null || { sleep 1; rm -rf -- "$@"; }`

// Guard is a small process that outlives us if we are killed: then it ends the process groups and removes the folders
// that it was told of. The methods of a nil Guard guard nothing. They may be called from any goroutine.
type Guard struct {
	cmd *exec.Cmd

	mu  sync.Mutex
	end *os.File // closed by our death
}

// StartGuard starts one. The caller must call Close.
func StartGuard() (*Guard, error) {
	in, end, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	defer in.Close()
	cmd := exec.Command("/bin/sh", "-c", guardScript, "kedge-guard")
	cmd.Dir, cmd.Env, cmd.Stdin = "/", []string{"PATH=/usr/bin:/bin"}, in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = end.Close()
		return nil, fmt.Errorf("start guard: %w", err)
	}
	return &Guard{cmd: cmd, end: end}, nil
}

// Folder makes a new folder in dir, the temporary folder if that is empty. The guard knows of it before it is there.
func (g *Guard) Folder(dir, prefix string) (string, error) {
	if g == nil {
		return os.MkdirTemp(dir, prefix)
	}
	if dir == "" {
		dir = os.TempDir()
	}
	for {
		path := filepath.Join(dir, prefix+strconv.FormatUint(uint64(rand.Uint32()), 10))
		if _, err := os.Lstat(path); err == nil {
			continue // another's
		}
		g.tell("folder " + path)
		return path, os.Mkdir(path, 0o700)
	}
}

// begun tells of a process group of ours, ended that it is gone and its number may be another's.
func (g *Guard) begun(group int) { g.tell(fmt.Sprintf("group %d", group)) }

func (g *Guard) ended(group int) { g.tell(fmt.Sprintf("ended %d", group)) }

func (g *Guard) tell(line string) {
	if g == nil || strings.Contains(line, "\n") {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	_, _ = g.end.WriteString(line + "\n") // without a guard everything works as long as we live
}

// Close ends the guard without it doing anything.
func (g *Guard) Close() {
	if g == nil {
		return
	}
	g.tell("end")
	_ = g.end.Close()
	_ = g.cmd.Wait()
}
