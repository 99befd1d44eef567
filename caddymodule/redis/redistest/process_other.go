//go:build !linux

package redistest

import "syscall"

func orphanless() *syscall.SysProcAttr { return nil }
