//go:build unix

package caddymodule_test

import (
	"os/exec"
	"syscall"
)

// peakOf is the most memory that a command ever had, in KB.
func peakOf(cmd *exec.Cmd) int64 {
	usage, _ := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if usage == nil {
		return 0
	}
	return int64(usage.Maxrss)
}
