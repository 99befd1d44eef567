//go:build unix

package vault

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// killGroup gives the command a process group of its own and ends all of it
// when the context does: its children would live on otherwise.
func killGroup(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error {
		err := syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}
