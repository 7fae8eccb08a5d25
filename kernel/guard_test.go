package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestTheGuardEndsAndRemovesWhatItsOwnerLeaves(t *testing.T) {
	sleeper := func() *exec.Cmd {
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd
	}
	for name, killed := range map[string]bool{"Killed": true, "Closed": false} {
		t.Run(name, func(t *testing.T) {
			g, err := StartGuard()
			if err != nil {
				t.Fatal(err)
			}
			parent := filepath.Join(t.TempDir(), "a $folder's \"name\" ")
			if err := os.Mkdir(parent, 0o700); err != nil {
				t.Fatal(err)
			}
			var folders []string
			for range 2 {
				dir, err := g.Folder(parent, "kedge-")
				if err == nil {
					err = os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				folders = append(folders, dir)
			}
			first, other, last := sleeper(), sleeper(), sleeper()
			for _, cmd := range []*exec.Cmd{first, other, last} {
				g.begun(cmd.Process.Pid)
			}
			g.ended(other.Process.Pid)
			if killed {
				_ = g.end.Close() // as our death does
				_ = g.cmd.Wait()
				_ = first.Wait() // they end
				_ = last.Wait()
			} else {
				g.Close()
			}
			for _, dir := range folders {
				if _, err := os.Stat(dir); (err == nil) == killed {
					t.Errorf("%s: %v", dir, err)
				}
			}
			for _, cmd := range []*exec.Cmd{first, other, last} {
				if killed && cmd != other {
					continue // they were waited for
				}
				if ended, err := syscall.Wait4(cmd.Process.Pid, nil, syscall.WNOHANG, nil); ended != 0 || err != nil {
					t.Errorf("process %d was ended: %v", cmd.Process.Pid, err)
				}
			}
		})
	}
}
